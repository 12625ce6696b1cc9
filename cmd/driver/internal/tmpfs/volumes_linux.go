package tmpfs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
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
	cfg    Config
	mounts mount.Interface
	budget *budget
	staged atomic.Bool // the kernel or a filter refuses detached mounts
	swaps  sync.Once   // to say that secrets may be swapped out

	prepare  sync.Mutex
	prepared bool // the staging directory is
}

var (
	_ rotation.Files  = (*Volumes)(nil)
	_ rotation.Notes  = (*Volumes)(nil)
	_ rotation.Mounts = (*Volumes)(nil)
)

// New returns Volumes. What is mounted already counts once Scan has found it.
func New(cfg Config) (*Volumes, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Volumes{cfg: cfg, mounts: mount.New(""), budget: newBudget(cfg.MaxVolume, cfg.MaxNode)}, nil
}

// Bytes is what the content of all volumes takes.
func (v *Volumes) Bytes() int64 { return v.budget.sum() }

// Look says what is mounted at target. Something other than a tmpfs is an error.
func (v *Volumes) Look(target string) (rotation.Found, error) {
	found := rotation.Found{Target: target}
	mounted, err := v.mounted(target)
	if err != nil || !mounted {
		return found, err
	}
	root, err := openVolume(target)
	if err != nil {
		return found, err
	}
	defer closeQuietly(root)
	complete, err := isComplete(root)
	switch {
	case err != nil:
		return found, fmt.Errorf("look at volume %s: %w", target, err)
	case !complete:
		found.State = rotation.Unfilled
		return found, nil
	}
	found.State = rotation.Complete
	found.Memory, err = recall(root)
	if err != nil { // worth a line, not worth a pod
		v.cfg.Log.Warn("read what a volume remembers", slog.String("path", target), slog.String("err", err.Error()))
	}
	return found, nil
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
	info, err := statfs(root)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("look at volume %s: %w", target, err), root.Close())
	}
	if info.Type != unix.TMPFS_MAGIC {
		closeQuietly(root)
		return nil, fmt.Errorf("a file system of type %#x is mounted at %s: it is not this driver's, unmount it", info.Type, target)
	}
	return root, nil
}

func statfs(root *os.Root) (unix.Statfs_t, error) {
	var info unix.Statfs_t
	dir, err := root.Open(".")
	if err != nil {
		return info, err
	}
	defer closeQuietly(dir)
	err = unix.Fstatfs(int(dir.Fd()), &info)
	return info, err
}

// Replace makes target hold exactly g. A target that is not mounted becomes mounted
// only when everything is written.
func (v *Volumes) Replace(target string, g rotation.Generation) (changed bool, err error) {
	settle, err := v.budget.reserve(target, pagesOf(g.Files))
	if err != nil {
		return false, err
	}
	defer func() { settle(err == nil) }()
	mounted, err := v.mounted(target)
	if err != nil {
		return false, err
	}
	switch {
	case mounted:
		return v.change(target, g)
	case g.Again:
		return false, provider.Errorf(provider.Internal, "nothing is mounted at %s any more", target)
	}
	return true, v.create(target, g)
}

// Read returns the files that target holds.
func (v *Volumes) Read(target string) ([]provider.File, error) {
	root, err := openVolume(target)
	if err != nil {
		return nil, err
	}
	defer closeQuietly(root)
	files, err := read(root)
	if err != nil {
		return nil, fmt.Errorf("read volume %s: %w", target, err)
	}
	return files, nil
}

// Pinned looks for what kubelet makes of subPath: a folder per container, beside the
// pod's volumes.
func (v *Volumes) Pinned(target string) bool {
	volume := filepath.Dir(target) // POD/volumes/kubernetes.io~csi/NAME
	pod := filepath.Dir(filepath.Dir(filepath.Dir(volume)))
	containers, err := os.ReadDir(filepath.Join(pod, "volume-subpaths", filepath.Base(volume)))
	return err == nil && len(containers) > 0
}

func (v *Volumes) change(target string, g rotation.Generation) (changed bool, err error) {
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
	born, err := v.bear(sizeFor(g.Files))
	if err != nil {
		return fmt.Errorf("make a tmpfs for %s: %w", target, err)
	}
	defer func() { err = errors.Join(err, born.close()) }()
	if err = fill(born.path(), g); err != nil {
		return fmt.Errorf("fill a tmpfs for %s: %w", target, err)
	}
	if err = os.MkdirAll(target, targetMode); err != nil {
		return fmt.Errorf("make target: %w", err)
	}
	if err = born.attach(target); err != nil {
		return errors.Join(fmt.Errorf("mount at %s: %w", target, err), ignoreAbsent(unix.Rmdir(target)))
	}
	return nil
}

// bear makes a tmpfs that nobody else sees.
func (v *Volumes) bear(size int64) (newborn, error) {
	if !v.staged.Load() {
		born, noswap, err := newDetached(size)
		if err == nil && !noswap {
			v.swaps.Do(v.warnOfSwap)
		}
		if err == nil || !isRefused(err) {
			return born, err
		}
		v.staged.Store(true)
		v.cfg.Log.Warn("detached mounts are refused here, volumes are filled in a private directory instead",
			slog.String("path", v.cfg.Staging), slog.String("err", err.Error()))
	}
	if err := v.prepareStaging(); err != nil {
		return nil, err
	}
	return newStaged(v.cfg.Staging, size)
}

// prepareStaging makes the staging directory private, once: a second time could hide
// what is being filled.
func (v *Volumes) prepareStaging() error {
	v.prepare.Lock()
	defer v.prepare.Unlock()
	if v.prepared {
		return nil
	}
	if err := preparePrivate(v.cfg.Staging); err != nil {
		return err
	}
	v.prepared = true
	return nil
}

// warnOfSwap says that the kernel cannot keep volumes out of swap, if there is any.
func (v *Volumes) warnOfSwap() {
	if swaps, err := os.ReadFile("/proc/swaps"); err == nil && bytes.Count(swaps, []byte{'\n'}) > 1 {
		v.cfg.Log.Warn("the kernel does not know noswap for tmpfs, and this node swaps: secrets may be written to its disk")
	}
}

// isRefused knows the answers of an old kernel and of security policies.
func isRefused(err error) bool {
	return errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES)
}

// Remember replaces the memory of what is mounted at target.
func (v *Volumes) Remember(target string, memory []byte) error {
	root, err := openVolume(target)
	if err != nil {
		return err
	}
	defer closeQuietly(root)
	name := current(root)
	if name == "" {
		return fmt.Errorf("remember at %s: nothing is mounted", target)
	}
	return remember(root, name, memory)
}

// Remove unmounts target until nothing is mounted there, and removes the directory.
// It deletes nothing through a mount.
func (v *Volumes) Remove(target string) error {
	if err := unmount(target); err != nil {
		return err
	}
	v.budget.forget(target)
	err := unix.Rmdir(target)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
		err = v.clear(target)
	}
	if errors.Is(err, unix.ENOTDIR) {
		err = os.Remove(target)
	}
	if err = ignoreAbsent(err); err != nil {
		return fmt.Errorf("remove %s, where nothing is mounted any more: %w", target, err)
	}
	return nil
}

func unmount(target string) error {
	for range maxUnmounts {
		err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
		if errors.Is(err, unix.EBUSY) { // held open from the host; it goes when they close
			err = unix.Unmount(target, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
		}
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
			return nil // nothing is mounted
		case err != nil:
			return fmt.Errorf("unmount %s: %w", target, err)
		}
	}
	return fmt.Errorf("unmount %s: still mounted after %d unmounts", target, maxUnmounts)
}

// clear removes a target that has files on the node's disk, as other drivers left
// them there. It refuses if anything is mounted among them.
func (v *Volumes) clear(target string) error {
	if filepath.Base(target) != "mount" || filepath.Base(filepath.Dir(filepath.Dir(target))) != "kubernetes.io~csi" {
		return errors.New("it has files, and is not the target of a pod's CSI volume")
	}
	refs, err := v.mounts.GetMountRefs(target)
	if err == nil && len(refs) > 0 {
		return fmt.Errorf("it is also at %q", refs)
	}
	all, err := v.mounts.List()
	if err != nil {
		return err
	}
	for _, m := range all {
		if mount.PathWithinBase(m.Path, target) {
			return fmt.Errorf("something is mounted at %s", m.Path)
		}
	}
	v.cfg.Log.Warn("removing files that lie on the node's disk below a volume", slog.String("path", target))
	return os.RemoveAll(target)
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
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
