package manifests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The table of values in the page is what values.yaml says.
func TestChartPage(t *testing.T) {
	const page, begin, end = "../../docs/helm.md", "<!-- values -->\n", "<!-- end of values -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %s", page, begin)
	}
	want := valuesTable(t)
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if table != want {
		t.Errorf("%s is out of date; write its table with: go test ./manifests -run TestChartPage -update", page)
	}
}

func valuesTable(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartFolder, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var values map[string]any
	decode(t, object{yaml: text}, &values)
	lines := []string{"| value | default | meaning |", "| --- | --- | --- |"}
	for _, row := range commented(t, string(text)) {
		lines = append(lines, fmt.Sprintf("| `%s` | %s | %s |", strings.Join(row.path, "."), shownDefault(t, values, row.path), row.comment))
	}
	if len(lines) < 50 {
		t.Fatalf("only %d values were found", len(lines)-2)
	}
	return "\n" + strings.Join(lines, "\n") + "\n\n"
}

// A documented value is a key, by its path, and the comment above it.
type documented struct {
	path    []string
	comment string
}

// commented are the keys of the file with a comment. One without must be a group.
func commented(t *testing.T, text string) []documented {
	t.Helper()
	var all []documented
	var path []string
	var comment string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		trimmed := strings.TrimLeft(line, " ")
		depth := (len(line) - len(trimmed)) / 2
		key, value, isKey := strings.Cut(trimmed, ":")
		switch {
		case trimmed == "":
			comment = "" // what went before is about the file
		case strings.HasPrefix(trimmed, "# "):
			comment = strings.TrimSpace(comment + " " + trimmed[2:])
		case strings.HasPrefix(trimmed, "- "), len(all) > 0 && slices.Equal(all[len(all)-1].path, path) && depth >= len(path):
			// Inside of a value that is shown as a whole.
		case isKey:
			path = append(path[:depth:depth], key)
			if comment != "" {
				all = append(all, documented{append([]string(nil), path...), comment})
			} else if value != "" {
				t.Errorf("values.yaml does not say what %s is", strings.Join(path, "."))
			}
			comment = ""
		}
	}
	return all
}

func shownDefault(t *testing.T, values map[string]any, path []string) string {
	t.Helper()
	var value any = values
	for _, key := range path {
		group, _ := value.(map[string]any)
		value = group[key]
	}
	if text, ok := value.(string); ok && text == "" {
		return "empty"
	}
	one, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if _, isText := value.(string); isText || len(one) < 40 {
		return "`" + strings.Trim(string(one), `"`) + "`"
	}
	return "see `values.yaml`"
}
