package manifest_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/manifest"
)

const class = "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {name: a, namespace: n}\n"

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"b.yaml": class, "a.yml": "---\n" + class + "---\n" + class, ".hidden.yaml": class, "notes.txt": class, ".git/c.yaml": class, "sub/c.json": "{}",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	classes, troubles, err := manifest.Open(strings.NewReader(class), []string{dir, "-"})
	if err != nil || len(troubles) > 0 {
		t.Fatal(err, troubles)
	}
	var got []string
	for _, c := range classes {
		at := c.At(nil)
		got = append(got, fmt.Sprintf("%s:%d %s", filepath.Base(at.File), at.Line, c))
	}
	if want := "a.yml:2 n/a, a.yml:6 n/a, b.yaml:1 n/a, stdin:1 n/a"; strings.Join(got, ", ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, ", "), want)
	}
	if _, _, err := manifest.Open(nil, []string{filepath.Join(dir, "gone")}); err == nil {
		t.Error("a file that is not there is no error")
	}
}

// TestTexts: what kubectl takes for a text.
func TestTexts(t *testing.T) {
	classes, _ := manifest.Read("f", []byte(class+"spec: {a: yes, b: 'yes', c: 0400, d: v1, e: 1e3, f: true, g: \"\", h: on, i: 2026-01-01}\n"))
	want := map[string]bool{"b": true, "d": true, "g": true}
	for _, p := range manifest.Pairs(manifest.Field(classes[0].Node, "spec")) {
		if _, got := manifest.Text(p.Value); got != want[p.Key.Value] && p.Key.Value != "i" {
			t.Errorf("%s: %s is a text: %t, want %t", p.Key.Value, p.Value.Value, got, want[p.Key.Value])
		}
	}
}

// FuzzRead: nothing makes the reader fail otherwise than by saying so, and each place is in the
// file.
func FuzzRead(f *testing.F) {
	f.Add([]byte(class + "spec:\n  parameters:\n    objects: |\n      array:\n      - |\n        objectName: a\n"))
	f.Add([]byte("---\n# nothing\n---\n%YAML 1.1\n---\nkind: List\nitems:\n- " + strings.ReplaceAll(class, "\n", "\n  ")))
	f.Add([]byte("{\"kind\": \"SecretProviderClass\",\n\t\"a\": \"\\/\\ud83d\\ude00\"}"))
	f.Add([]byte(class + "spec: &a {b: *a, <<: *a}\n"))
	f.Add([]byte("kind: List\nitems: &x [*x]\n"))
	files, err := filepath.Glob("../lint/testdata/*/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal("there is no class to begin with", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		classes, troubles := manifest.Read("f", text)
		lines := strings.Count(string(text), "\n") + 1
		for _, tr := range troubles {
			if tr.Line < 1 || tr.Line > lines+1 {
				t.Errorf("trouble in line %d of %d: %s", tr.Line, lines, tr.Text)
			}
		}
		for _, c := range classes {
			c.Decode()
			objects := manifest.Field(manifest.Field(manifest.Field(c.Node, "spec"), "parameters"), "objects")
			at := c.At(objects)
			if objects != nil {
				at = c.Within(objects, 2, 1)
			}
			if at.Line < 1 || at.Line > lines {
				t.Errorf("line %d of %d", at.Line, lines)
			}
		}
	})
}
