package tmpfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/pkg/rotation"
)

const mountFlags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC

// newborn is a tmpfs that nobody else sees while it is filled.
type newborn interface {
	// path leads to its root.
	path() string
	// attach makes it appear at target, with all its content.
	attach(target string) error
	// close gives up the private way to it.
	close() error
}

func fill(path string, g rotation.Generation) error {
	root, err := openVolume(path) // a tmpfs for sure: not a byte may reach the disk
	if err != nil {
		return err
	}
	defer closeQuietly(root)
	_, err = replace(root, g)
	return err
}

// detached is a tmpfs that is mounted nowhere: the kernel frees it when the process
// dies before attach.
type detached struct {
	fd int // of the mount
}

func newDetached(size int64) (born newborn, noswap bool, err error) {
	v, err := tryDetached(size, true)
	if noswap = !errors.Is(err, unix.EINVAL); !noswap { // a kernel before 6.4 does not know it
		v, err = tryDetached(size, false)
	}
	if err != nil {
		return nil, false, err
	}
	return v, noswap, nil
}

func tryDetached(size int64, noswap bool) (*detached, error) {
	fd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	options := [][2]string{{"source", "tmpfs"}, {"mode", "0755"}, {"size", strconv.FormatInt(size, 10)}}
	for _, option := range options {
		if err = unix.FsconfigSetString(fd, option[0], option[1]); err != nil {
			return nil, fmt.Errorf("fsconfig %s: %w", option[0], err)
		}
	}
	if noswap {
		if err = unix.FsconfigSetFlag(fd, "noswap"); err != nil {
			return nil, fmt.Errorf("fsconfig noswap: %w", err)
		}
	}
	if err = unix.FsconfigCreate(fd); err != nil {
		return nil, fmt.Errorf("fsconfig create: %w", err)
	}
	mnt, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsmount: %w", err)
	}
	return &detached{fd: mnt}, nil
}

func (d *detached) path() string { return "/proc/self/fd/" + strconv.Itoa(d.fd) }

func (d *detached) attach(target string) error {
	return unix.MoveMount(d.fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

func (d *detached) close() error { return unix.Close(d.fd) }

// staged is a tmpfs in a private directory of the driver, for where detached ones
// are refused. Mounts in that directory are seen in no other mount namespace.
type staged struct {
	dir string
}

func newStaged(staging string, size int64) (newborn, error) {
	dir, err := os.MkdirTemp(staging, "volume-")
	if err != nil {
		return nil, err
	}
	options := "mode=0755,size=" + strconv.FormatInt(size, 10)
	err = unix.Mount("tmpfs", dir, "tmpfs", mountFlags, options+",noswap")
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("tmpfs", dir, "tmpfs", mountFlags, options)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("mount in %s: %w", staging, err), os.Remove(dir))
	}
	return &staged{dir: dir}, nil
}

// preparePrivate makes dir a mount that passes nothing on to other namespaces.
func preparePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := unix.Mount("", dir, "", unix.MS_PRIVATE, ""); err == nil {
		return nil // it is a mount already
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("bind %s to itself: %w", dir, err)
	}
	if err := unix.Mount("", dir, "", unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make %s private: %w", dir, err)
	}
	return nil
}

func (s *staged) path() string { return s.dir }

func (s *staged) attach(target string) error { return unix.Mount(s.dir, target, "", unix.MS_BIND, "") }

func (s *staged) close() error {
	if err := unix.Unmount(s.dir, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount %s: %w", s.dir, err)
	}
	return os.Remove(s.dir)
}

// clearStaging removes what a killed process left in its staging directory.
func clearStaging(staging string) error {
	entries, err := os.ReadDir(staging)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		dir := staging + "/" + e.Name()
		if err = unmount(dir); err != nil {
			return err
		}
		if err = os.Remove(dir); err != nil {
			return err
		}
	}
	return nil
}

// grow gives a mounted tmpfs at least size bytes. It never takes any away.
func grow(root *os.Root, size int64) error {
	info, err := statfs(root)
	if err != nil {
		return err
	}
	if info.Blocks == 0 || int64(info.Blocks)*info.Bsize >= size { //nolint:gosec // 0 is a tmpfs without limit
		return nil
	}
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer closeQuietly(dir)
	err = reconfigure(int(dir.Fd()), size)
	if isRefused(err) {
		path := "/proc/self/fd/" + strconv.Itoa(int(dir.Fd()))
		err = unix.Mount("", path, "", unix.MS_REMOUNT|mountFlags, "size="+strconv.FormatInt(size, 10))
	}
	return err
}

func reconfigure(dir int, size int64) error {
	fd, err := unix.Fspick(dir, "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("fspick: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err = unix.FsconfigSetString(fd, "size", strconv.FormatInt(size, 10)); err != nil {
		return fmt.Errorf("fsconfig size: %w", err)
	}
	if err = unix.FsconfigReconfigure(fd); err != nil {
		return fmt.Errorf("fsconfig reconfigure: %w", err)
	}
	return nil
}
