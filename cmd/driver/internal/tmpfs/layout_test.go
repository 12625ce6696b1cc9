package tmpfs

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// gen makes a generation of files "path" or "path=contents" with mode 0644.
func gen(specs ...string) rotation.Generation {
	g := rotation.Generation{GID: rotation.NoGroup}
	for _, spec := range specs {
		name, contents, _ := strings.Cut(spec, "=")
		g.Files = append(g.Files, provider.File{Path: name, Mode: 0o644, Contents: []byte(contents)})
	}
	return g
}

// shown is what a pod sees: path=contents of each visible file, sorted.
func shown(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") {
			continue
		}
		real, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		err = filepath.WalkDir(real, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			contents, err := os.ReadFile(p)
			files = append(files, e.Name()+strings.TrimPrefix(p, real)+"="+string(contents))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(files)
	return files
}

// hidden counts the reserved names other than ..data.
func hidden(t *testing.T, dir string) int {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "..") && e.Name() != dataLink {
			n++
		}
	}
	return n
}

func open(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeQuietly(root) })
	return root
}

func TestReplaceSequences(t *testing.T) {
	t.Parallel()
	for name, steps := range map[string][]struct {
		files   []string
		changed bool
	}{
		"nothing changes":          {{[]string{"a=1", "b=2"}, true}, {[]string{"b=2", "a=1"}, false}},
		"contents change":          {{[]string{"a=1"}, true}, {[]string{"a=2"}, true}, {[]string{"a=2"}, false}},
		"same size, other bytes":   {{[]string{"a=12"}, true}, {[]string{"a=21"}, true}},
		"a file comes":             {{[]string{"a=1"}, true}, {[]string{"a=1", "b=2"}, true}},
		"a file goes":              {{[]string{"a=1", "b=2"}, true}, {[]string{"a=1"}, true}},
		"all files go":             {{[]string{"a=1"}, true}, {nil, true}, {nil, false}},
		"nested":                   {{[]string{"d/e/f=1", "d/g=2", "h=3"}, true}, {[]string{"d/g=2"}, true}},
		"a file becomes a folder":  {{[]string{"a=1"}, true}, {[]string{"a/b=1"}, true}},
		"a folder becomes a file":  {{[]string{"a/b=1"}, true}, {[]string{"a=1"}, true}},
		"dotfiles":                 {{[]string{".hidden=1", ".d/.e=2"}, true}, {[]string{".hidden=1"}, true}},
		"empty file":               {{[]string{"a="}, true}, {[]string{"a="}, false}, {[]string{"a=x"}, true}},
		"a backslash is no folder": {{[]string{`d\e=1`}, true}, {[]string{`d\e=2`}, true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			root := open(t, dir)
			for i, step := range steps {
				changed, err := replace(root, gen(step.files...))
				if err != nil || changed != step.changed {
					t.Fatalf("step %d: changed %v, err %v, want changed %v", i, changed, err, step.changed)
				}
				want := slices.Sorted(slices.Values(step.files))
				if diff := cmp.Diff(want, shown(t, dir)); diff != "" {
					t.Fatalf("step %d (-want +got):\n%s", i, diff)
				}
				if n := hidden(t, dir); n != 1 {
					t.Fatalf("step %d: %d reserved names beside ..data, want 1", i, n)
				}
			}
		})
	}
}

func TestReplaceModes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := open(t, dir)
	for _, mode := range []fs.FileMode{0o400, 0o440, 0o640, 0o666, 0o777, 0o407, 0} {
		g := rotation.Generation{GID: rotation.NoGroup, Files: []provider.File{{Path: "a", Mode: mode, Contents: []byte("x")}}}
		changed, err := replace(root, g)
		if err != nil || !changed {
			t.Fatalf("mode %#o: changed %v, %v: a change of mode alone is a change", mode, changed, err)
		}
		info, err := os.Stat(filepath.Join(dir, "a"))
		if err != nil || info.Mode() != mode {
			t.Errorf("mode %#o became %v, %v", mode, info.Mode(), err)
		}
	}
}

func TestReplaceGroup(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("only root gives files to a group")
	}
	dir := t.TempDir()
	root := open(t, dir)
	g := gen("a=1")
	if _, err := replace(root, g); err != nil {
		t.Fatal(err)
	}
	g.GID, g.Files[0].Mode = 4711, 0o400
	changed, err := replace(root, g)
	if err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	info, err := os.Stat(filepath.Join(dir, "a"))
	if err != nil || info.Mode() != 0o440 || !sameGroup(info, 4711) {
		t.Errorf("%v, %v, %v: want mode 0440 and group 4711", info.Mode(), info.Sys(), err)
	}
	if changed, err := replace(root, g); err != nil || changed {
		t.Errorf("again: changed %v, %v", changed, err)
	}
}

// What a crash can leave behind neither wedges the next change nor stays.
func TestReplaceAfterCrash(t *testing.T) {
	t.Parallel()
	leftovers := map[string]func(dir string) error{
		"temporary link":    func(dir string) error { return os.Symlink("..2020_01_01_00_00_00.x", filepath.Join(dir, nextLink)) },
		"temporary name":    func(dir string) error { return os.Symlink("..data/a", filepath.Join(dir, nameLink)) },
		"orphan directory":  func(dir string) error { return os.MkdirAll(filepath.Join(dir, "..2020_01_01_00_00_00.x", "d"), 0o755) },
		"name without file": func(dir string) error { return os.Symlink("..data/gone", filepath.Join(dir, "gone")) },
		"file of old":       func(dir string) error { return os.WriteFile(filepath.Join(dir, "b"), []byte("old"), 0o600) },
		"directory of old":  func(dir string) error { return os.MkdirAll(filepath.Join(dir, "b", "c"), 0o755) },
		"dangling data link": func(dir string) error {
			_ = os.Remove(filepath.Join(dir, dataLink))
			return os.Symlink("..2020_01_01_00_00_00.x", filepath.Join(dir, dataLink))
		},
		"data link out of the volume": func(dir string) error {
			_ = os.Remove(filepath.Join(dir, dataLink))
			return os.Symlink("/etc", filepath.Join(dir, dataLink))
		},
		"data link up": func(dir string) error {
			_ = os.Remove(filepath.Join(dir, dataLink))
			return os.Symlink("..", filepath.Join(dir, dataLink))
		},
	}
	for name, leave := range leftovers {
		for _, first := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				root := open(t, dir)
				if !first {
					if _, err := replace(root, gen("a=1", "b=2")); err != nil {
						t.Fatal(err)
					}
					if strings.Contains(name, "of old") {
						if err := os.Remove(filepath.Join(dir, "b")); err != nil {
							t.Fatal(err)
						}
					}
				}
				if err := leave(dir); err != nil {
					t.Fatal(err)
				}
				if _, err := replace(root, gen("a=1", "b=2")); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]string{"a=1", "b=2"}, shown(t, dir)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if n := hidden(t, dir); n != 1 {
					t.Errorf("%d reserved names beside ..data, want 1", n)
				}
			})
		}
	}
}

func TestReplaceRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := open(t, dir)
	if _, err := replace(root, gen("a=1")); err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]string{{"."}, {"../x"}, {"/x"}, {"a", "a"}, {"a", "a/b"}, {""}, {"..data"}} {
		if changed, err := replace(root, gen(bad...)); err == nil || changed {
			t.Errorf("%q: changed %v, err %v", bad, changed, err)
		}
		if diff := cmp.Diff([]string{"a=1"}, shown(t, dir)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", bad, diff)
		}
	}
}
