package migrate

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
)

// Change is something that will be different. Those with something to do come first.
type Change struct {
	ID     string `json:"id"`
	Object string `json:"object"`
	Change string `json:"change"`
	Do     string `json:"do,omitempty"` // "" if nothing is to be done
}

// Changes are all of a cluster.
func Changes(s *Snapshot) []Change {
	var all []Change
	for _, look := range []func(*Snapshot) []Change{
		unread, versions, driverSets, csiDriver, providerSets, classes, volumes, namespaces, secrets,
	} {
		all = append(all, look(s)...)
	}
	slices.SortStableFunc(all, func(a, b Change) int {
		return cmp.Or(rank(a)-rank(b), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Object, b.Object))
	})
	return all
}

func rank(c Change) int {
	if c.Do == "" {
		return 1
	}
	return 0
}

// ToDo says whether something is to be done.
func ToDo(all []Change) bool {
	return slices.ContainsFunc(all, func(c Change) bool { return c.Do != "" })
}

func unread(s *Snapshot) []Change {
	var all []Change
	for _, text := range s.Unread {
		all = append(all, Change{"NotChecked", "cluster", "could not " + text, "run it as somebody who may read that"})
	}
	return all
}

// Print writes changes for a person.
func Print(w io.Writer, all []Change) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "there is nothing of the upstream driver")
		return err
	}
	for i, c := range all {
		switch {
		case i == 0 && c.Do != "":
			fmt.Fprint(w, "to do\n\n")
		case c.Do == "" && (i == 0 || all[i-1].Do != ""):
			fmt.Fprint(w, "to know\n\n")
		}
		rows := [][]string{{"  object", c.Object}, {"  change", c.Change}}
		if c.Do != "" {
			rows = append(rows, []string{"  do", c.Do})
		}
		fmt.Fprintln(w, c.ID)
		if err := cli.Table(w, nil, rows); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return nil
}

// listed names the first ones.
func listed(names []string) string {
	const most = 5
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
