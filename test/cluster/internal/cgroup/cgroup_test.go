package cgroup

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestHierarchies(t *testing.T) {
	got := hierarchies(`22 1 0:20 / /proc rw shared:5 - proc proc rw
30 24 0:26 / /sys/fs/cgroup/cpuset rw,relatime shared:9 - cgroup cgroup rw,cpuset
31 24 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
32 24 0:28 / /mnt/cgroup rw - ext4 /dev/cgroup rw
`)
	want := []hierarchy{{dir: "/sys/fs/cgroup/cpuset"}, {dir: "/sys/fs/cgroup/unified", unified: true}}
	if !slices.Equal(got, want) {
		t.Errorf("hierarchies = %v, want %v", got, want)
	}
}

// A folder stands for the file system of the kernel.
func TestMakeOld(t *testing.T) {
	h := hierarchy{dir: t.TempDir()}
	write(t, h.dir, "cpuset.cpus", "0-1\n")
	for range 2 {
		if err := h.make("x"); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, h.dir, "x", "cpuset.cpus"); got != "0-1\n" {
		t.Errorf("cpus %q", got)
	}
}

func TestMakeUnified(t *testing.T) {
	h := hierarchy{dir: t.TempDir(), unified: true}
	write(t, h.dir, "cgroup.controllers", "cpu\n")
	if err := h.make("x"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"", "x"} {
		if got := read(t, h.dir, dir, "cgroup.subtree_control"); got != "+cpu" {
			t.Errorf("in %q: %q", dir, got)
		}
	}
}

func TestRemove(t *testing.T) {
	h := hierarchy{dir: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(h.dir, "x", "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := h.remove("x"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Join(h.dir, "x")); err == nil {
		t.Error("still there")
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, elem ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
