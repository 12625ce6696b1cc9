package manifests

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/strongroom/strongroom/test/internal/stand"
)

var update = flag.Bool("update", false, "write the tables in testdata again") //nolint:gochecknoglobals // a flag

const folder = "../../manifests"

// A choice is something that a user can install.
type choice struct {
	name string
	path string // of a kustomization
}

// choices are the base, each overlay, and each component on top of the base.
func choices(t *testing.T) []choice {
	t.Helper()
	all := []choice{{"base", filepath.Join(folder, "base")}}
	for _, name := range folders(t, "overlays") {
		all = append(all, choice{"overlay-" + name, filepath.Join(folder, "overlays", name)})
	}
	for _, name := range folders(t, "components") {
		all = append(all, choice{"component-" + name, withComponent(t, name)})
	}
	return all
}

func folders(t *testing.T, kind string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(folder, kind))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if len(names) == 0 {
		t.Fatalf("there are no %s", kind)
	}
	return names
}

// withComponent is a kustomization of the base and components, and what the first needs.
func withComponent(t *testing.T, names ...string) string {
	t.Helper()
	needs := map[string]string{"provider-vault-token-request": "provider-vault"}
	dir := t.TempDir()
	// kustomize does not follow links on its way.
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs(folder)
	if err != nil {
		t.Fatal(err)
	}
	up, err := filepath.Rel(real, root)
	if err != nil {
		t.Fatal(err)
	}
	text := "resources: [" + up + "/base]\ncomponents:\n"
	for _, component := range append([]string{needs[names[0]]}, names...) {
		if component != "" {
			text += "- " + up + "/components/" + component + "\n"
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// An object is the YAML of one, and its kind.
type object struct {
	kind string
	yaml []byte
}

// render is what kubectl would apply.
func render(t *testing.T, c choice) []object {
	t.Helper()
	kubectl, err := stand.Binary("kubectl")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), kubectl, "kustomize", c.path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kubectl kustomize %s: %v: %s", c.path, err, &stderr)
	}
	return documents(t, out)
}

// documents are the objects of a stream of YAML.
func documents(t *testing.T, text []byte) []object {
	t.Helper()
	var all []object
	for r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		one, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		var head struct{ Kind string }
		decode(t, object{yaml: one}, &head)
		all = append(all, object{head.Kind, one})
	}
}

func decode(t *testing.T, o object, into any) {
	t.Helper()
	if err := yaml.Unmarshal(o.yaml, into); err != nil {
		t.Fatalf("%v in\n%s", err, o.yaml)
	}
}

// ofKind are the objects of a kind.
func ofKind[T any](t *testing.T, all []object, kind string) []T {
	t.Helper()
	var some []T
	for _, o := range all {
		if o.kind == kind {
			var one T
			decode(t, o, &one)
			some = append(some, one)
		}
	}
	return some
}

// table aligns the columns of rows, which it sorts.
func table(head []string, rows [][]string) string {
	slices.SortFunc(rows, slices.Compare)
	rows = slices.CompactFunc(rows, slices.Equal)
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	for _, row := range append([][]string{head}, rows...) {
		_, _ = io.WriteString(w, strings.Join(row, "\t")+"\n")
	}
	_ = w.Flush()
	return text.String()
}

// golden compares a table with the one that was looked at and committed.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; if this is new, look at it and write it with: go test ./manifests -update", err)
	}
	if got != string(want) {
		t.Errorf("%s is not what it was (- was, + is). If it is meant to change: go test ./manifests -update, and say so in docs/security.md\n%s%s",
			path, without("- ", string(want), got), without("+ ", got, string(want)))
	}
}

// without are the lines of a text that another has not.
func without(sign, text, other string) string {
	lines, left := strings.Split(other, "\n"), ""
	for line := range strings.Lines(text) {
		if !slices.Contains(lines, strings.TrimSuffix(line, "\n")) {
			left += sign + line
		}
	}
	return left
}

// No table stays behind when what it was about is gone.
func TestTablesAreOfSomething(t *testing.T) {
	var want []string
	for _, c := range choices(t) {
		want = append(want, "rights-"+c.name+".txt", "containers-"+c.name+".txt", "network-"+c.name+".txt")
	}
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !slices.Contains(want, e.Name()) {
			t.Errorf("testdata/%s is about nothing in %s", e.Name(), folder)
		}
	}
}
