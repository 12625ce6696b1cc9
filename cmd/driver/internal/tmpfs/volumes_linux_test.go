package tmpfs

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// volumes are volumes on a real tmpfs, and a target.
func volumes(t *testing.T, more ...func(*Config)) (*Volumes, string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("mounting needs root; make test runs this")
	}
	dir := t.TempDir()
	cfg := Config{
		Driver: "d", Pods: filepath.Join(dir, "pods"), Staging: filepath.Join(dir, "staging"), Log: slog.New(slog.DiscardHandler),
	}
	for _, m := range more {
		m(&cfg)
	}
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	target := filepath.Join(cfg.Pods, "uid", "volumes", "kubernetes.io~csi", "v", "mount")
	t.Cleanup(func() {
		for _, path := range []string{target, cfg.Staging} {
			for unix.Unmount(path, unix.MNT_DETACH) == nil { // until nothing is mounted
			}
		}
	})
	return v, target
}

func look(t *testing.T, v *Volumes, target string, want rotation.State) rotation.Found {
	t.Helper()
	got, err := v.Look(target)
	if err != nil || got.State != want {
		t.Fatalf("%+v, %v, want state %v", got, err, want)
	}
	return got
}

// bothWays runs a test with detached mounts and without.
func bothWays(t *testing.T, test func(t *testing.T, v *Volumes, target string)) {
	t.Helper()
	t.Parallel()
	for name, staged := range map[string]bool{"detached": false, "staged": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, target := volumes(t)
			v.staged.Store(staged)
			test(t, v, target)
			if entries, err := os.ReadDir(v.cfg.Staging); len(entries) > 0 {
				t.Errorf("left in the staging directory: %v, %v", entries, err)
			}
		})
	}
}

func TestVolumeLife(t *testing.T) {
	bothWays(t, func(t *testing.T, v *Volumes, target string) {
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
	})
}

func TestVolumeOptions(t *testing.T) {
	bothWays(t, func(t *testing.T, v *Volumes, target string) {
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
	})
}

func TestVolumeGrows(t *testing.T) {
	bothWays(t, func(t *testing.T, v *Volumes, target string) {
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
	})
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
	bothWays(t, func(t *testing.T, v *Volumes, target string) {
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
	})
}

func TestRemoveAllMountsOfATarget(t *testing.T) {
	bothWays(t, func(t *testing.T, v *Volumes, target string) {
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
	})
}

func TestMemoryIsBornWithTheContent(t *testing.T) {
	bothWays(t, func(t *testing.T, v *Volumes, target string) {
		g := gen("a=1")
		for i, text := range []string{"first", strings.Repeat("x", 60000), "again"} {
			g.Memory = []byte(text)
			if i == 1 {
				g.Files[0].Contents = []byte("2")
			}
			if changed, err := v.Replace(target, g); err != nil || changed != (i < 2) {
				t.Fatalf("generation %d: changed %v, %v", i, changed, err)
			}
			if got := look(t, v, target, rotation.Complete); string(got.Memory) != text {
				t.Errorf("generation %d remembers %.20q", i, got.Memory)
			}
		}
		if err := v.Remember(target, []byte("noted")); err != nil {
			t.Fatal(err)
		}
		if got := look(t, v, target, rotation.Complete); string(got.Memory) != "noted" {
			t.Errorf("remembers %q", got.Memory)
		}
	})
}

func TestScan(t *testing.T) {
	bothWays(t, func(t *testing.T, v *Volumes, target string) {
		g := gen("a=" + strings.Repeat("x", 5000))
		g.Memory = []byte("m")
		if _, err := v.Replace(target, g); err != nil {
			t.Fatal(err)
		}
		note(t, target, `{"driverName":"d"}`)
		// Kubelet's notes of other drivers, of volumes that are not mounted, and broken ones.
		for name, text := range map[string]string{"other": `{"driverName":"x"}`, "absent": `{"driverName":"d"}`, "broken": `{`} {
			note(t, filepath.Join(v.cfg.Pods, "uid", "volumes", "kubernetes.io~csi", name, "mount"), text)
		}
		fresh, err := New(v.cfg)
		if err != nil {
			t.Fatal(err)
		}
		found, err := fresh.Scan()
		if err == nil || !strings.Contains(err.Error(), "broken") {
			t.Errorf("the broken note is not told: %v", err)
		}
		want := []rotation.Found{{Target: target, State: rotation.Complete, Memory: []byte("m")}}
		if diff := cmp.Diff(want, found); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if fresh.Bytes() != 8192 || v.Bytes() != 8192 {
			t.Errorf("%d and %d bytes, want 8192", fresh.Bytes(), v.Bytes())
		}
	})
}

func note(t *testing.T, target, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(target), "vol_data.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	v, target := volumes(t, func(c *Config) { c.MaxVolume, c.MaxNode = 8192, 12288 })
	other := filepath.Join(filepath.Dir(filepath.Dir(target)), "w", "mount")
	t.Cleanup(func() { _ = unmount(other) })
	pages := func(n int) rotation.Generation { return gen("a=" + strings.Repeat("x", n*4096)) }
	if _, err := v.Replace(target, pages(3)); provider.KindOf(err) != provider.TooLarge || !strings.Contains(err.Error(), "--max-volume-bytes") {
		t.Errorf("three pages in a volume: %v", err)
	}
	if _, err := v.Replace(target, pages(2)); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Replace(other, pages(2)); provider.KindOf(err) != provider.TooLarge || !strings.Contains(err.Error(), "--max-node-bytes") {
		t.Errorf("four pages on the node: %v", err)
	}
	look(t, v, other, rotation.Absent)
	if _, err := v.Replace(target, pages(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Replace(other, pages(2)); err != nil {
		t.Errorf("after the first shrank: %v", err)
	}
	if err := v.Remove(target); err != nil {
		t.Fatal(err)
	}
	if v.Bytes() != 8192 {
		t.Errorf("%d bytes, want 8192", v.Bytes())
	}
}

// Files that lie below a target on the disk, where nothing is mounted, go with it;
// but not if something is mounted among them.
func TestRemoveForeignLeftovers(t *testing.T) {
	t.Parallel()
	v, target := volumes(t)
	inner := filepath.Join(target, "d", "e")
	if err := os.MkdirAll(inner, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(target, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", inner, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	if err := v.Remove(target); err == nil || !strings.Contains(err.Error(), inner) {
		t.Errorf("with a mount inside: %v", err)
	}
	if _, err := os.Stat(filepath.Join(target, "f")); err != nil {
		t.Errorf("a file was removed all the same: %v", err)
	}
	if err := unix.Unmount(inner, 0); err != nil {
		t.Fatal(err)
	}
	if err := v.Remove(target); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(target); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the target is still there: %v", err)
	}
}

// Symlinks with long names take pages of their own.
func TestVolumeWithLongNames(t *testing.T) {
	bothWays(t, func(t *testing.T, v *Volumes, target string) {
		for round := range 3 {
			g := rotation.Generation{GID: rotation.NoGroup}
			for i := range 1000 {
				name := fmt.Sprintf("%03d-%s", i, strings.Repeat("n", 180))
				g.Files = append(g.Files, provider.File{Path: name, Mode: 0o644, Contents: []byte{byte(round)}})
			}
			if _, err := v.Replace(target, g); err != nil {
				t.Fatalf("generation %d: %v", round, err)
			}
		}
	})
}

// Many first publishes at once, each of which could be the one that prepares.
func TestManyAtOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, v *Volumes, target string) {
		var group sync.WaitGroup
		for i := range 64 {
			other := filepath.Join(filepath.Dir(filepath.Dir(target)), fmt.Sprint("v-", i), "mount")
			t.Cleanup(func() { _ = unmount(other) })
			group.Go(func() {
				if _, err := v.Replace(other, gen("a=1")); err != nil {
					t.Errorf("%d: %v", i, err)
					return
				}
				if found, err := v.Look(other); err != nil || found.State != rotation.Complete {
					t.Errorf("%d: %+v, %v", i, found, err)
				}
			})
		}
		group.Wait()
	})
}
