package explain

import (
	"fmt"
	"io"
	"time"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
)

// mostEvents is how many a person is shown.
const mostEvents = 8

// Print writes a report for a person. Ages are those at a time.
func (r Report) Print(w io.Writer, now time.Time) error {
	fmt.Fprintf(w, "pod %s, %s, on node %s\n", r.Pod, r.Phase, orNone(r.Node))
	if len(r.Volumes) == 0 {
		fmt.Fprintln(w, "it has no volume of this driver")
	}
	for _, v := range r.Volumes {
		if err := v.print(w, now); err != nil {
			return err
		}
	}
	return r.printRest(w, now)
}

func (v Volume) print(w io.Writer, now time.Time) error {
	rows := [][]string{
		{"  class", v.Class},
		{"  provider", orNone(v.Provider)},
		{"  mounted", yes(v.Mounted)},
		{"  fresh", v.Fresh + ago(", since ", v.Since, now)},
		{"  changed", orNone(ago("", v.Changed, now))},
		{"  next refresh", v.Next},
	}
	if v.Error != "" {
		rows = append(rows, []string{"  last error", v.Error})
	}
	fmt.Fprintf(w, "\nvolume %s\n", v.Name)
	if err := cli.Table(w, nil, rows); err != nil {
		return err
	}
	rows = nil
	for _, o := range v.Objects {
		rows = append(rows, []string{"  " + o.ID, o.Version})
	}
	if err := table(w, []string{"  object", "version"}, rows); err != nil {
		return err
	}
	rows = nil
	for _, s := range v.Secrets {
		rows = append(rows, []string{"  " + s.Name, s.Type, s.State + ago(" with what was fetched ", s.Fetched, now), orNone(s.Node)})
	}
	return table(w, []string{"  secret", "type", "state", "node"}, rows)
}

func (r Report) printRest(w io.Writer, now time.Time) error {
	var rows [][]string
	for _, e := range r.Events[max(0, len(r.Events)-mostEvents):] {
		rows = append(rows, []string{"  " + ago("", &e.Time, now), e.Object, e.Reason, e.Text})
	}
	if len(rows) > 0 {
		fmt.Fprintln(w, "\nevents")
	}
	if err := cli.Table(w, nil, rows); err != nil {
		return err
	}
	for _, text := range r.Unread {
		fmt.Fprintf(w, "\n%s\n", text)
	}
	return nil
}

func table(w io.Writer, header []string, rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	return cli.Table(w, header, rows)
}

func ago(before string, at *time.Time, now time.Time) string {
	if at == nil || at.IsZero() {
		return ""
	}
	return before + max(0, now.Sub(*at)).Round(time.Second).String() + " ago"
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
