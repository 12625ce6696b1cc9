package reference

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Setting is one thing that a class can say: name, default and meaning, in Markdown.
type Setting interface {
	~struct{ Name, Default, Meaning string }
}

// Table is Markdown; kind is what the settings are.
func Table[S Setting](kind string, list []S) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s | default | meaning |\n| --- | --- | --- |\n", kind)
	for _, s := range list {
		row := struct{ Name, Default, Meaning string }(s)
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", row.Name, row.Default, row.Meaning)
	}
	return b.String()
}

// Check holds a page against the tables that it must have, by name, each between the
// comments <!-- generated: NAME --> and <!-- end -->. Update writes them.
func Check(page string, tables map[string]string, update bool) error {
	have, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	want := string(have)
	for name, table := range tables {
		if want, err = replace(want, name, table); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(page), err)
		}
	}
	switch {
	case want == string(have):
		return nil
	case !update:
		return fmt.Errorf("%s is out of date: run its test with -update", filepath.Base(page))
	}
	return os.WriteFile(page, []byte(want), 0o600)
}

// replace puts a table between the comments that name it.
func replace(text, name, table string) (string, error) {
	begin := "<!-- generated: " + name + " -->\n"
	before, rest, ok := strings.Cut(text, begin)
	_, after, ended := strings.Cut(rest, "<!-- end -->")
	if !ok || !ended {
		return "", fmt.Errorf("the page has no place for %s", name)
	}
	return before + begin + "\n" + table + "\n<!-- end -->" + after, nil
}
