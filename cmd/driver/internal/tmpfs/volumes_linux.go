package tmpfs

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
	"k8s.io/mount-utils"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

const targetMode = fs.FileMode(0o750) // of the directory that is mounted over

// maxUnmounts bounds the mounts that Remove takes off one target.
const maxUnmounts = 64

// Volumes keeps the directories of volumes on this node. Calls for different
// targets may run side by side.
type Volumes struct {
	mounts mount.Interface
	log    *slog.Logger
}

var _ rotation.Files = (*Volumes)(nil)

// New returns Volumes.
func New(log *slog.Logger) *Volumes {
	return &Volumes{mounts: mount.New(""), log: log}
}

// Look says what is mounted at target. Something other than a tmpfs is an error.
func (v *Volumes) Look(target string) (rotation.State, error) {
	mounted, err := v.mounted(target)
	if err != nil || !mounted {
		return rotation.Absent, err
	}
	root, err := openVolume(target)
	if err != nil {
		return rotation.Absent, err
	}
	defer closeQuietly(root)
	complete, err := isComplete(root)
	switch {
	case err != nil:
		return rotation.Absent, fmt.Errorf("look at volume %s: %w", target, err)
	case complete:
		return rotation.Complete, nil
	}
	return rotation.Unfilled, nil
}

func (v *Volumes) mounted(target string) (bool, error) {
	info, err := os.Lstat(target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look at target: %w", err)
	case !info.IsDir():
		return false, provider.Errorf(provider.Invalid, "target %s is not a directory", target)
	}
	not, err := v.mounts.IsLikelyNotMountPoint(target) // exact for a tmpfs: never the device of its parent
	if err != nil {
		return false, fmt.Errorf("look for a mount at %s: %w", target, err)
	}
	return !not, nil
}

// openVolume opens the tmpfs at target; what is done through it cannot reach the
// disk below, should the tmpfs be unmounted meanwhile.
func openVolume(target string) (*os.Root, error) {
	root, err := os.OpenRoot(target)
	if err != nil {
		return nil, fmt.Errorf("open volume: %w", err)
	}
	var info unix.Statfs_t
	if err := statfs(root, &info); err != nil {
		return nil, errors.Join(fmt.Errorf("look at volume %s: %w", target, err), root.Close())
	}
	if info.Type != unix.TMPFS_MAGIC {
		closeQuietly(root)
		return nil, fmt.Errorf("a file system of type %#x is mounted at %s: it is not this driver's, unmount it", info.Type, target)
	}
	return root, nil
}

func statfs(root *os.Root, info *unix.Statfs_t) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer closeQuietly(dir)
	return unix.Fstatfs(int(dir.Fd()), info)
}

// Replace makes target hold exactly g. A target that is not mounted becomes mounted
// only when everything is written.
func (v *Volumes) Replace(target string, g rotation.Generation) (changed bool, err error) {
	mounted, err := v.mounted(target)
	if err != nil {
		return false, err
	}
	if !mounted {
		return true, v.create(target, g)
	}
	root, err := openVolume(target)
	if err != nil {
		return false, err
	}
	defer closeQuietly(root)
	if err = grow(root, sizeFor(g.Files)); err != nil {
		return false, fmt.Errorf("make volume %s larger: %w", target, err)
	}
	changed, err = replace(root, g)
	if err != nil {
		return changed, fmt.Errorf("change volume %s: %w", target, err)
	}
	return changed, nil
}

func (v *Volumes) create(target string, g rotation.Generation) (err error) {
	born, err := newVolume(sizeFor(g.Files), v.log)
	if err != nil {
		return fmt.Errorf("make a tmpfs for %s: %w", target, err)
	}
	defer func() { err = errors.Join(err, born.close()) }()
	if err := born.fill(g); err != nil {
		return fmt.Errorf("fill a tmpfs for %s: %w", target, err)
	}
	if err := os.MkdirAll(target, targetMode); err != nil {
		return fmt.Errorf("make target: %w", err)
	}
	if err := born.attach(target); err != nil {
		return errors.Join(fmt.Errorf("mount at %s: %w", target, err), ignoreAbsent(unix.Rmdir(target)))
	}
	return nil
}

// Remove unmounts target until nothing is mounted there, and removes the directory.
// It deletes nothing else.
func (v *Volumes) Remove(target string) error {
	for range maxUnmounts {
		err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
		switch {
		case err == nil:
			continue
		case errors.Is(err, unix.ENOENT):
			return nil
		case errors.Is(err, unix.EBUSY): // held open from the host; it goes when they close
			err = unix.Unmount(target, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
			if err != nil {
				return fmt.Errorf("detach %s: %w", target, err)
			}
			continue
		case !errors.Is(err, unix.EINVAL):
			return fmt.Errorf("unmount %s: %w", target, err)
		}
		if err := ignoreAbsent(unix.Rmdir(target)); err != nil {
			return fmt.Errorf("remove %s, where nothing is mounted any more: %w", target, err)
		}
		return nil
	}
	return fmt.Errorf("unmount %s: still mounted after %d unmounts", target, maxUnmounts)
}

func ignoreAbsent(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	return err
}

func sameGroup(info fs.FileInfo, gid int) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	want := gid
	if want == rotation.NoGroup {
		want = os.Getegid()
	}
	return ok && int(stat.Gid) == want
}
