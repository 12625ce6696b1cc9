package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/provider/providertest/witness"

	"github.com/strongroom/strongroom/test/soak/internal/testimony"
)

const period = time.Second

func at(generation int64, pod string) map[string][]byte {
	return witness.Files(witness.At(time.Unix(generation, 0), period, pod, "u-1"), []string{"a", "b", "c"})
}

// put makes the volume's next generation, as the driver does, and removes the last.
func put(t *testing.T, dir, name string, files map[string][]byte) {
	t.Helper()
	if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
		t.Fatal(err)
	}
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name, file), content, 0o600); err != nil {
			t.Fatal(err)
		}
		_ = os.Symlink(filepath.Join(data, file), filepath.Join(dir, file))
	}
	old, _ := os.Readlink(filepath.Join(dir, data))
	if err := os.Symlink(name, filepath.Join(dir, "new")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, data)); err != nil {
		t.Fatal(err)
	}
	if old != "" {
		_ = os.RemoveAll(filepath.Join(dir, old))
	}
}

// An observer that is started again does not forget.
func TestGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, "..1", at(1_000_000, "shop/api"))
	for range 2 {
		w := watching(dir)
		if err := w.run(t.Context()); err == nil || !strings.Contains(err.Error(), "is that of pod shop/api") {
			t.Errorf("%v", err)
		}
		_ = os.RemoveAll(filepath.Join(dir, "..1"))
	}
}

func watching(dir string) *watch {
	return &watch{
		dir: dir, report: dir, pause: time.Millisecond, now: func() time.Time { return time.Unix(1_000_010, 0) },
		said: testimony.Report{Pod: "shop/web", UID: "u-1"},
	}
}

func TestGoodVolume(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := watching(dir)
	put(t, dir, "..1", at(1_000_000, "shop/web"))
	w.look()
	put(t, dir, "..2", at(1_000_008, "shop/web"))
	w.look()
	w.look()
	if err := w.write(); err != nil {
		t.Fatal(err)
	}
	all, err := testimony.Read(dir)
	r := all["u-1"]
	if err != nil || r.Reads != 3 || r.Generations != 2 || len(r.Violations) > 0 || r.Behind != time.Second || r.Longest != 9*time.Second {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestViolations(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		want  string
	}{
		"no volume":      {func(_ *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, data)) }, "no such file"},
		"empty":          {func(t *testing.T, dir string) { put(t, dir, "..2", nil) }, "there are no files"},
		"another pod's":  {func(t *testing.T, dir string) { put(t, dir, "..2", at(1_000_001, "shop/api")) }, "is that of pod shop/api"},
		"never made":     {func(t *testing.T, dir string) { put(t, dir, "..2", at(1_000_011, "shop/web")) }, "was never published"},
		"an older one":   {func(t *testing.T, dir string) { put(t, dir, "..2", at(999_999, "shop/web")) }, "came after generation"},
		"a file missing": {func(_ *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, "..1", "b")) }, "is incomplete"},
		"a link missing": {func(_ *testing.T, dir string) { _ = os.Remove(filepath.Join(dir, "b")) }, "something is missing"},
		"cut short":      {func(_ *testing.T, dir string) { _ = os.Truncate(filepath.Join(dir, "..1", "b"), 50) }, `file "b" with 50 bytes`},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			w := watching(dir)
			put(t, dir, "..1", at(1_000_000, "shop/web"))
			w.look()
			c.spoil(t, dir)
			w.look()
			if v := w.said.Violations; len(v) != 1 || !strings.Contains(v[0], c.want) {
				t.Errorf("%q, want %q", v, c.want)
			}
		})
	}
}

// A volume that changes all the time is whole all the time.
func TestLookWhileChanging(t *testing.T) {
	t.Parallel()
	dir, over, done := t.TempDir(), make(chan struct{}), make(chan struct{})
	w := watching(dir)
	put(t, dir, "..0", at(1_000_000, "shop/web"))
	go func() {
		defer close(done)
		for {
			w.look()
			select {
			case <-over:
				return
			default:
			}
		}
	}()
	for n := range int64(300) {
		put(t, dir, fmt.Sprintf("..%d", n+1), at(1_000_000+n/100, "shop/web"))
	}
	close(over)
	<-done
	if len(w.said.Violations) > 0 || w.said.Reads == 0 {
		t.Errorf("%+v", w.said)
	}
}
