package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/reference"
)

// update says that the page is to be written: go test ./cmd/driver -run TestFlagsPage -update.
const update = "update"

func TestMain(m *testing.M) {
	flag.Bool(update, false, "write the tables of the documentation")
	flag.Parse()
	os.Exit(m.Run())
}

// The table of flags is what the program says of itself.
func TestFlagsPage(t *testing.T) {
	t.Parallel()
	err := reference.Check("../../docs/reference/flags.md", map[string]string{"driver": flagTable()},
		flag.Lookup(update).Value.String() == "true")
	if err != nil {
		t.Error(err)
	}
}

// flagTable has one row for all the flags that were accepted without effect from the start.
func flagTable() string {
	type row struct{ Name, Default, Meaning string }
	var rows []row
	var idle []string
	o, set := &options{}, flag.NewFlagSet("driver", flag.ContinueOnError)
	o.defineKnown(set)
	o.defineOwn(set)
	set.VisitAll(func(f *flag.Flag) {
		if _, ok := f.Value.(*ignored); ok {
			idle = append(idle, "`--"+f.Name+"`")
			return
		}
		r := row{Name: "--" + f.Name, Meaning: f.Usage}
		if f.DefValue != "" {
			r.Default = "`" + f.DefValue + "`"
		}
		rows = append(rows, r)
	})
	return reference.Table("flag", rows) + fmt.Sprintf("| %s |  | without effect, with a warning |\n", strings.Join(idle, ", "))
}
