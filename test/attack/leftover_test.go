//go:build attack

package attack

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// TestLeftovers publishes, and unpublishes, where something is left: of a node that
// was switched off, or of the upstream driver.
func TestLeftovers(t *testing.T) {
	bothWays(t, func(t *testing.T, l *lane) {
		for name, leave := range map[string]func(t *testing.T, target string){
			"an empty directory":               makeTarget,
			"stale files on the disk":          staleFiles,
			"an empty tmpfs of upstream's":     emptyMount,
			"a whole tmpfs of upstream's":      upstreamMount,
			"a tmpfs that was being filled":    halfMount,
			"two mounts":                       twoMounts,
			"a mount, and a driver that comes": func(t *testing.T, target string) { upstreamMount(t, target); l.kill(t) },
		} {
			t.Run("publish over "+name, func(t *testing.T) {
				v := l.leftover(t, leave)
				before := device(t, v)
				l.publishOver(t, v, name)
				if after := device(t, v); before != 0 && after != before {
					t.Errorf("the mount was replaced: device %d, then %d", before, after)
				}
				l.unpublish(t, v)
			})
			t.Run("unpublish "+name, func(t *testing.T) { l.unpublish(t, l.leftover(t, leave)) })
		}
		t.Run("unpublish nothing", func(t *testing.T) { l.unpublish(t, l.volume()) })
		t.Run("unpublish twice", func(t *testing.T) {
			v := l.volume()
			l.publish(t, v)
			if err := l.driver.Unpublish(t.Context(), v); err != nil {
				t.Error(err)
			}
			l.unpublish(t, v)
		})
		t.Run("a file in place of the socket", func(t *testing.T) {
			l.kill(t)
			if err := os.Remove(l.node.Socket()); err != nil {
				t.Fatal(err)
			}
			l.restart(t)
		})
	})
}

func (l *lane) kill(t *testing.T) {
	t.Helper()
	if err := l.driver.Kill(); err != nil {
		t.Fatal(err)
	}
}

// leftover returns a volume with something at its target, and a driver that runs.
func (l *lane) leftover(t *testing.T, leave func(t *testing.T, target string)) stand.Volume {
	t.Helper()
	v := l.volume()
	v.Group = "" // as upstream has none
	prepare(t, l, v)
	leave(t, v.Target())
	if l.driver.Ended() {
		l.restart(t)
	}
	return v
}

// publishOver publishes, and looks at the content only: how the upstream driver
// mounts is another matter.
func (l *lane) publishOver(t *testing.T, v stand.Volume, name string) {
	t.Helper()
	if name != "two mounts" {
		l.publish(t, v)
		return
	}
	if err := l.driver.PublishAsKubelet(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	for file, want := range files() {
		if got, err := os.ReadFile(filepath.Join(v.Target(), file)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, want %q (%v)", file, got, want, err)
		}
	}
}

// device numbers the file system at a volume's target; 0 if there is none of its own.
func device(t *testing.T, v stand.Volume) uint64 {
	t.Helper()
	var at, above unix.Stat_t
	if err := unix.Stat(v.Target(), &at); err != nil {
		t.Fatal(err)
	}
	if err := unix.Stat(filepath.Dir(v.Target()), &above); err != nil {
		t.Fatal(err)
	}
	if at.Dev == above.Dev {
		return 0
	}
	return at.Dev
}

func makeTarget(t *testing.T, target string) {
	t.Helper()
	if err := os.Mkdir(target, 0o750); err != nil {
		t.Fatal(err)
	}
}

func staleFiles(t *testing.T, target string) {
	t.Helper()
	makeTarget(t, target)
	fill(t, target, "stale")
}

func emptyMount(t *testing.T, target string) {
	t.Helper()
	makeTarget(t, target)
	if err := unix.Mount("tmpfs", target, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
}

func upstreamMount(t *testing.T, target string) {
	t.Helper()
	emptyMount(t, target)
	fill(t, target, "")
}

func twoMounts(t *testing.T, target string) {
	t.Helper()
	emptyMount(t, target)
	if err := unix.Mount("tmpfs", target, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
}

func halfMount(t *testing.T, target string) {
	t.Helper()
	emptyMount(t, target)
	for _, dir := range []string{"..2026_01_01_00_00_00.1", "..2026_01_01_00_00_01.2"} {
		if err := os.Mkdir(filepath.Join(target, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(target, "..2026_01_01_00_00_01.2", "foo"), []byte("sec"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..2026_01_01_00_00_01.2", filepath.Join(target, "..data_tmp")); err != nil {
		t.Fatal(err)
	}
}

// fill writes the files as the upstream driver does, with more in front of each.
func fill(t *testing.T, target, more string) {
	t.Helper()
	const generation = "..2026_01_01_00_00_00.123456789"
	steps := []error{
		os.MkdirAll(filepath.Join(target, generation, "conf"), 0o755),
		os.Symlink(generation, filepath.Join(target, "..data")),
		os.Symlink("..data/conf", filepath.Join(target, "conf")),
		os.Symlink("..data/foo", filepath.Join(target, "foo")),
		os.Symlink("..data/fookey", filepath.Join(target, "fookey")),
	}
	for name, contents := range files() {
		steps = append(steps, os.WriteFile(filepath.Join(target, generation, name), []byte(more+contents), 0o644))
	}
	for _, err := range steps {
		if err != nil {
			t.Fatal(err)
		}
	}
}
