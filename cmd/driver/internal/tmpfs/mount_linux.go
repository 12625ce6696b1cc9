package tmpfs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

const (
	pageSize = 4096
	headroom = 1 << 20
)

// sizeFor is the size in bytes of a tmpfs for files: twice their pages, since a
// change holds two generations, and 1 MiB.
func sizeFor(files []provider.File) int64 {
	size := int64(headroom)
	for _, f := range files {
		pages := (int64(len(f.Contents)) + pageSize - 1) / pageSize
		size += 2 * pages * pageSize
	}
	return size
}

// volume is a tmpfs that is mounted nowhere yet: nobody sees it while it is filled,
// and the kernel frees it when the process dies.
type volume struct {
	fd int // of the mount
}

func newVolume(size int64, log *slog.Logger) (*volume, error) {
	v, err := tryVolume(size, true)
	if errors.Is(err, unix.EINVAL) { // a kernel before 6.4 does not know noswap
		log.Debug("the kernel refuses noswap for tmpfs: secrets in volumes may be swapped out")
		v, err = tryVolume(size, false)
	}
	return v, err
}

func tryVolume(size int64, noswap bool) (*volume, error) {
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
	return &volume{fd: mnt}, nil
}

func (v *volume) fill(g rotation.Generation) error {
	root, err := os.OpenRoot("/proc/self/fd/" + strconv.Itoa(v.fd))
	if err != nil {
		return err
	}
	defer closeQuietly(root)
	_, err = replace(root, g)
	return err
}

func (v *volume) attach(target string) error {
	return unix.MoveMount(v.fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH)
}

func (v *volume) close() error { return unix.Close(v.fd) }

// grow gives a mounted tmpfs at least size bytes. It never takes any away.
func grow(root *os.Root, size int64) error {
	var info unix.Statfs_t
	if err := statfs(root, &info); err != nil {
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
	fd, err := unix.Fspick(int(dir.Fd()), "", unix.FSPICK_CLOEXEC|unix.FSPICK_EMPTY_PATH)
	if err != nil {
		return fmt.Errorf("fspick: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.FsconfigSetString(fd, "size", strconv.FormatInt(size, 10)); err != nil {
		return fmt.Errorf("fsconfig size: %w", err)
	}
	if err := unix.FsconfigReconfigure(fd); err != nil {
		return fmt.Errorf("fsconfig reconfigure: %w", err)
	}
	return nil
}
