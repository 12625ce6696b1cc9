package tmpfs

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

func volumes(t *testing.T) (*Volumes, string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root; make test runs this")
	}
	target := filepath.Join(t.TempDir(), "pods", "uid", "mount")
	t.Cleanup(func() {
		for unix.Unmount(target, unix.MNT_DETACH) == nil { // until nothing is mounted
		}
	})
	return New(slog.New(slog.DiscardHandler)), target
}

func look(t *testing.T, v *Volumes, target string, want rotation.State) {
	t.Helper()
	if got, err := v.Look(target); err != nil || got != want {
		t.Fatalf("state %v, %v, want %v", got, err, want)
	}
}

func TestVolumeLife(t *testing.T) {
	t.Parallel()
	v, target := volumes(t)
	look(t, v, target, rotation.Absent)
	for i, files := range [][]string{{"a=1", "d/b=2"}, {"a=2"}} {
		if changed, err := v.Replace(target, gen(files...)); err != nil || !changed {
			t.Fatalf("generation %d: changed %v, %v", i, changed, err)
		}
		look(t, v, target, rotation.Complete)
		if diff := cmp.Diff(files, shown(t, target)); diff != "" {
			t.Fatalf("generation %d (-want +got):\n%s", i, diff)
		}
	}
	for range 2 {
		if err := v.Remove(target); err != nil {
			t.Fatal(err)
		}
		look(t, v, target, rotation.Absent)
	}
	if _, err := os.Lstat(target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the target is still there: %v", err)
	}
}

func TestVolumeOptions(t *testing.T) {
	t.Parallel()
	v, target := volumes(t)
	if _, err := v.Replace(target, gen("a="+strings.Repeat("x", 5000))); err != nil {
		t.Fatal(err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	var line string
	for l := range strings.Lines(string(mounts)) {
		if strings.Contains(l, target) {
			line = l
		}
	}
	for _, option := range []string{"tmpfs " + target + " tmpfs ", "nosuid", "nodev", "noexec", "size=1040k", "mode=755"} {
		if !strings.Contains(line, option) {
			t.Errorf("%q lacks %q", line, option)
		}
	}
}

func TestVolumeGrows(t *testing.T) {
	t.Parallel()
	v, target := volumes(t)
	for _, size := range []int{10, 3 << 20, 10 << 20, 1 << 20, 10 << 20} {
		g := gen("a")
		g.Files[0].Contents = bytes.Repeat([]byte{byte(size)}, size)
		if _, err := v.Replace(target, g); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if info, err := os.Stat(filepath.Join(target, "a")); err != nil || info.Size() != int64(size) {
			t.Fatalf("%d bytes: %v, %v", size, info, err)
		}
	}
}

// A mount that never got its content, as the upstream driver leaves it when it is
// killed, is filled in place.
func TestVolumeUnfilled(t *testing.T) {
	t.Parallel()
	v, target := volumes(t)
	if err := os.MkdirAll(target, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", target, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	look(t, v, target, rotation.Unfilled)
	if _, err := v.Replace(target, gen("a=1")); err != nil {
		t.Fatal(err)
	}
	look(t, v, target, rotation.Complete)
	if err := v.Remove(target); err != nil {
		t.Fatal(err)
	}
	look(t, v, target, rotation.Absent)
}

func TestVolumeRefusesForeignMounts(t *testing.T) {
	t.Parallel()
	v, target := volumes(t)
	if err := os.MkdirAll(target, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("proc", target, "proc", 0, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Look(target); err == nil || !strings.Contains(err.Error(), "not this driver's") {
		t.Errorf("look: %v", err)
	}
	if _, err := v.Replace(target, gen("a=1")); err == nil {
		t.Error("replace succeeded on a foreign mount")
	}
}

func TestVolumeLeavesNothingAfterFailure(t *testing.T) {
	t.Parallel()
	v, target := volumes(t)
	bad := rotation.Generation{Files: []provider.File{{Path: "."}}, GID: rotation.NoGroup}
	if _, err := v.Replace(target, bad); err == nil {
		t.Fatal("a bad path was accepted")
	}
	look(t, v, target, rotation.Absent)
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(target, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Replace(target, gen("a=1")); err == nil {
		t.Error("a file as target was accepted")
	}
}

func TestRemoveAllMountsOfATarget(t *testing.T) {
	t.Parallel()
	v, target := volumes(t)
	if _, err := v.Replace(target, gen("a=1")); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := unix.Mount("tmpfs", target, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
	}
	held, err := os.Open(target) // a reader must not keep it mounted
	if err != nil {
		t.Fatal(err)
	}
	defer closeQuietly(held)
	if err := v.Remove(target); err != nil {
		t.Fatal(err)
	}
	look(t, v, target, rotation.Absent)
}
