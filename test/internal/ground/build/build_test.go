package build

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/test/internal/ground/step"
)

// compiler stands for the go command: it makes an empty file of its last
// argument, or fails if that is "fail".
const compiler = `#!/bin/sh
for last; do :; done
case "$1 $last" in
env*) echo go1.26 ;;
*fail) echo "no such package" >&2; exit 1 ;;
*) : >"$last" ;;
esac
`

func TestNeed(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(compiler), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	module := t.TempDir()
	write(t, module, "go.mod", "module example.test/m\n")
	write(t, module, "go.sum", "")
	var out bytes.Buffer
	c := &Cache{Dir: t.TempDir(), Log: step.New(&out)}
	if err := os.Mkdir(filepath.Join(c.Dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	s := Set{Name: "m", Binaries: []string{"prog"}, Args: []string{"build", "-o", "@BIN/prog"}}
	must := func(builds int) {
		t.Helper()
		if err := c.need(t.Context(), s, module); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(out.String(), "build m"); got != builds {
			t.Fatalf("built %d times, want %d", got, builds)
		}
	}
	must(1)
	must(1) // nothing changed
	if err := os.Remove(c.Bin("prog")); err != nil {
		t.Fatal(err)
	}
	must(2)
	write(t, module, "go.sum", "\n")
	must(3)
	s.Args = []string{"build", "-trimpath", "-o", "@BIN/prog"}
	must(4)
	s.Args = []string{"build", "fail"}
	if err := c.need(t.Context(), s, module); err == nil || !strings.Contains(err.Error(), "no such package") {
		t.Errorf("a failed build: %v", err)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestSource(t *testing.T) {
	root, err := source()
	if err != nil || filepath.Base(root) != "test" {
		t.Errorf("source = %q, %v", root, err)
	}
	t.Chdir("/")
	if root, err := source(); err == nil {
		t.Errorf("found %q above /", root)
	}
}
