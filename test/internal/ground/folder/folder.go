package folder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// mark is the file that tells a run folder from any other.
const mark = ".strongroom-run"

// Default is where the cluster lives if $STRONGROOM_RUN does not say.
const Default = "/var/tmp/strongroom/dev"

// Folder is a run folder, which need not exist.
type Folder string

// Cluster returns the run folder of the cluster.
func Cluster() Folder {
	if dir := os.Getenv("STRONGROOM_RUN"); dir != "" {
		return Folder(filepath.Clean(dir))
	}
	return Default
}

// Path returns a path below the folder.
func (f Folder) Path(elem ...string) string {
	return filepath.Join(append([]string{string(f)}, elem...)...)
}

// ID is short, and different for different folders. Whatever must be named
// outside the folder (a network interface, a cgroup) is named by it.
func (f Folder) ID() string {
	sum := sha256.Sum256([]byte(f))
	return hex.EncodeToString(sum[:4])
}

// Exists says whether the folder is there and ours.
func (f Folder) Exists() bool {
	_, err := os.Stat(f.Path(mark))
	return err == nil
}

// Create makes the folder, readable by its owner only.
func (f Folder) Create() error {
	if !filepath.IsAbs(string(f)) {
		return fmt.Errorf("create run folder %s: the path is not absolute", f)
	}
	entries, err := os.ReadDir(string(f))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("create run folder: %w", err)
	}
	if len(entries) > 0 && !f.Exists() {
		return fmt.Errorf("create run folder %s: it holds files that are not ours", f)
	}
	if err := os.MkdirAll(string(f), 0o700); err != nil {
		return fmt.Errorf("create run folder: %w", err)
	}
	return os.WriteFile(f.Path(mark), nil, 0o600)
}

// Remove deletes the folder if it is ours, and the folder above it if that is
// the default one and now empty.
func (f Folder) Remove() error {
	if !f.Exists() {
		return nil
	}
	entries, err := os.ReadDir(string(f))
	if err != nil {
		return fmt.Errorf("remove run folder: %w", err)
	}
	for _, e := range entries { // the mark goes last: a removal that was cut short can be repeated
		if e.Name() == mark {
			continue
		}
		if err := os.RemoveAll(f.Path(e.Name())); err != nil {
			return fmt.Errorf("remove run folder: %w", err)
		}
	}
	if err := os.RemoveAll(string(f)); err != nil {
		return fmt.Errorf("remove run folder: %w", err)
	}
	if above := filepath.Dir(string(f)); above == filepath.Dir(Default) {
		_ = os.Remove(above) // only if empty
	}
	return nil
}

// Lock keeps other tools away from the folder until unlock is called or this
// process is gone. The lock is an abstract socket: it leaves no file behind.
func (f Folder) Lock(ctx context.Context, waiting func()) (unlock func(), err error) {
	for said := false; ; said = true {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: "@strongroom-run-" + f.ID(), Net: "unix"})
		if err == nil {
			return func() { _ = l.Close() }, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("lock run folder %s: %w", f, err)
		}
		if !said {
			waiting()
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("lock run folder %s: %w", f, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
