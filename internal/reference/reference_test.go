package reference

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	page := filepath.Join(t.TempDir(), "page.md")
	const frame = "# Page\n<!-- generated: things -->\nold\n<!-- end -->\nrest\n"
	if err := os.WriteFile(page, []byte(frame), 0o600); err != nil {
		t.Fatal(err)
	}
	tables := map[string]string{"things": Table("thing", []struct{ Name, Default, Meaning string }{{"a", "`1`", "first"}})}
	if err := Check(page, tables, false); err == nil || !strings.Contains(err.Error(), "out of date") {
		t.Error(err)
	}
	for _, update := range []bool{true, false} {
		if err := Check(page, tables, update); err != nil {
			t.Error(err)
		}
	}
	text, err := os.ReadFile(page)
	want := "# Page\n<!-- generated: things -->\n\n| thing | default | meaning |\n| --- | --- | --- |\n| `a` | `1` | first |\n\n<!-- end -->\nrest\n"
	if err != nil || string(text) != want {
		t.Errorf("%v: %s", err, text)
	}
	if err := Check(page, map[string]string{"others": ""}, true); err == nil {
		t.Error("a table without a place")
	}
}
