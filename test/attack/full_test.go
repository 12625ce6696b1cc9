//go:build attack

package attack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// noSpace is what an operator is to read.
const noSpace = "no space left on device"

// TestNoSpace: where there is no room a publish fails whole, and says why; a refresh leaves
// the files as they are; and both go on when there is.
func TestNoSpace(t *testing.T) {
	bothWays(t, func(t *testing.T, l *lane) {
		t.Run("publish", l.publishWithoutSpace)
		t.Run("refresh", l.refreshWithoutSpace)
	}, append(rotating(), "--audit-log=/dev/full")...)
}

// publishWithoutSpace has a file system for the volume's directory that can hold
// kubelet's note, and nothing else.
func (l *lane) publishWithoutSpace(t *testing.T) {
	l.holds(t, first())
	v := l.volume()
	prepare(t, l, v)
	dir := filepath.Dir(v.Target())
	limit := func(flags uintptr, inodes int) {
		t.Helper()
		if err := unix.Mount("tmpfs", dir, "tmpfs", flags, "nr_inodes="+strconv.Itoa(inodes)); err != nil {
			t.Fatal(err)
		}
	}
	limit(0, 2)
	prepare(t, l, v)
	for range 3 {
		if err := l.driver.Publish(t.Context(), v); err == nil || !strings.Contains(err.Error(), noSpace) || !strings.Contains(err.Error(), v.Pod) {
			t.Errorf("publish: %v, want an error that says %q", err, noSpace)
		}
		l.is(t, v, stand.Nothing)
	}
	limit(unix.MS_REMOUNT, 100)
	l.publish(t, v)
	if err := l.driver.UnpublishAsKubelet(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Fatal(err)
	}
	l.unpublish(t, v)
}

// refreshWithoutSpace fills the volume's tmpfs from outside, as only root can.
func (l *lane) refreshWithoutSpace(t *testing.T) {
	l.holds(t, first())
	v := l.volume()
	l.publish(t, v)
	l.becomes(t, "recorded", func(ctx context.Context) error { return l.done(ctx, v, first()) })
	ballast := filepath.Join(v.Target(), "..data", "ballast")
	if err := fillUp(ballast); err != nil {
		t.Fatal(err)
	}
	third := content{"v3", files()}
	third.files["foo"] = "rotated"
	l.holds(t, third)
	l.becomes(t, "refreshed in vain", func(context.Context) error { return l.says(noSpace, v.ID()) })
	for name, want := range first().files {
		if got, err := os.ReadFile(filepath.Join(v.Target(), name)); err != nil || string(got) != want {
			t.Errorf("%s holds %.40q, want %.40q (%v)", name, got, want, err)
		}
	}
	l.becomes(t, "one generation", func(context.Context) error { // between two tries
		generations, err := filepath.Glob(filepath.Join(v.Target(), "..2*"))
		if err == nil && len(generations) != 1 {
			err = fmt.Errorf("there are generations %q", generations)
		}
		return err
	})
	if err := l.driver.Publish(t.Context(), v); err != nil {
		t.Errorf("republish: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	l.becomes(t, "refreshed", func(ctx context.Context) error { return l.done(ctx, v, third) })
	l.unpublish(t, v)
}

// fillUp makes a file that leaves no room on its file system.
func fillUp(path string) (err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	for block := make([]byte, 4096); err == nil; {
		_, err = file.Write(block)
	}
	if errors.Is(err, unix.ENOSPC) {
		return nil
	}
	return err
}

// says is an error unless the driver has logged a line with all these texts.
func (l *lane) says(texts ...string) error {
	log, err := os.ReadFile(filepath.Join(l.node.Dir, "driver.log"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(log)) {
		if containsAll(line, texts) {
			return nil
		}
	}
	return fmt.Errorf("the driver does not say %q", texts)
}

func containsAll(line string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(line, text) {
			return false
		}
	}
	return true
}
