package tmpfs

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// The layout of a volume (driver-contract 4): the files are in a directory named
// for the time of writing, ..data is a symlink to it, and each top-level name is a
// symlink through ..data. Renaming a new ..data over the old one changes them all.
const (
	dataLink   = "..data"
	nextLink   = "..data_tmp"
	nameLink   = "..name_tmp"
	reserved   = ".."
	stampForm  = "..2006_01_02_15_04_05."
	dirMode    = fs.FileMode(0o755)
	groupBit   = fs.FileMode(0o040)
	modeMask   = fs.FileMode(0o777)
	writeFlags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
)

// modeOf is the mode that f gets: with a group, its members may read it, as with
// Secret volumes of kubelet.
func modeOf(f provider.File, gid int) fs.FileMode {
	if gid != rotation.NoGroup {
		return f.Mode&modeMask | groupBit
	}
	return f.Mode & modeMask
}

// isComplete says whether a whole generation is in the volume.
func isComplete(root *os.Root) (bool, error) {
	info, err := root.Stat(dataLink)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", dataLink, err)
	}
	return info.IsDir(), nil
}

// replace makes root hold exactly g, and says whether that was a change.
func replace(root *os.Root, g rotation.Generation) (changed bool, err error) {
	if err = provider.CheckFiles(g.Files); err != nil {
		return false, err
	}
	old := current(root)
	if err = sweep(root, old); err != nil {
		return false, err
	}
	if old != "" && same(root, g) {
		if err = prune(root, g.Files); err != nil { // links that a crash left behind
			return false, err
		}
		return false, remember(root, old, g.Memory)
	}
	fresh, err := write(root, g)
	if err != nil {
		return false, err
	}
	if err := link(root, fresh, g.Files); err != nil {
		if current(root) != fresh {
			err = errors.Join(err, root.RemoveAll(fresh))
		}
		return false, err
	}
	if err := prune(root, g.Files); err != nil {
		return true, err
	}
	return true, sweep(root, fresh)
}

// current names the directory that ..data points to; "" if there is none.
func current(root *os.Root) string {
	name, err := root.Readlink(dataLink)
	if err != nil || !strings.HasPrefix(name, reserved) || strings.Contains(name, "/") {
		return ""
	}
	if info, err := root.Lstat(name); err != nil || !info.IsDir() {
		return ""
	}
	return name
}

// sweep removes what an interrupted change left behind: every reserved name but
// ..data and the directory in use.
func sweep(root *os.Root, inUse string) error {
	names, err := list(root, ".")
	if err != nil {
		return err
	}
	for _, name := range names {
		if !strings.HasPrefix(name, reserved) || name == inUse || name == dataLink && inUse != "" {
			continue
		}
		if err := root.RemoveAll(name); err != nil {
			return fmt.Errorf("remove leftover %s: %w", name, err)
		}
	}
	return nil
}

// same compares what the volume shows with what it should: names, bytes, modes and
// groups.
func same(root *os.Root, g rotation.Generation) bool {
	data, err := root.OpenRoot(dataLink)
	if err != nil {
		return false
	}
	defer closeQuietly(data)
	wanted := make(map[string]provider.File, len(g.Files))
	for _, f := range g.Files {
		wanted[f.Path] = f
		if !isLinked(root, top(f.Path)) {
			return false
		}
	}
	found := 0
	err = fs.WalkDir(data.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		f, ok := wanted[name]
		if !ok || !sameFile(data, f, g.GID) {
			return fs.ErrInvalid
		}
		found++
		return nil
	})
	return err == nil && found == len(g.Files)
}

func sameFile(data *os.Root, f provider.File, gid int) bool {
	file, err := data.Open(f.Path)
	if err != nil {
		return false
	}
	defer closeQuietly(file)
	info, err := file.Stat()
	if err != nil || info.Mode() != modeOf(f, gid) || info.Size() != int64(len(f.Contents)) || !sameGroup(info, gid) {
		return false
	}
	contents, err := io.ReadAll(file)
	return err == nil && bytes.Equal(contents, f.Contents)
}

// read returns the files of the generation in use.
func read(root *os.Root) ([]provider.File, error) {
	data, err := root.OpenRoot(dataLink)
	if err != nil {
		return nil, err
	}
	defer closeQuietly(data)
	var files []provider.File
	err = fs.WalkDir(data.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		contents, err := data.ReadFile(name)
		files = append(files, provider.File{Path: name, Mode: info.Mode().Perm(), Contents: contents})
		return err
	})
	return files, err
}

// write makes a new directory that holds g, or nothing.
func write(root *os.Root, g rotation.Generation) (name string, err error) {
	var random [5]byte
	_, _ = rand.Read(random[:]) // never fails
	fresh := time.Now().UTC().Format(stampForm) + hex.EncodeToString(random[:])
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %d files: %w", len(g.Files), err), root.RemoveAll(fresh))
		}
	}()
	if err := root.Mkdir(fresh, dirMode); err != nil {
		return "", err
	}
	if err := root.Chmod(fresh, dirMode); err != nil { // whatever the umask
		return "", err
	}
	for _, f := range g.Files {
		if err := writeFile(root, fresh, f, g.GID); err != nil {
			return "", err
		}
	}
	return fresh, remember(root, fresh, g.Memory)
}

func writeFile(root *os.Root, dir string, f provider.File, gid int) (err error) {
	if err = makeParents(root, dir, path.Dir(f.Path)); err != nil {
		return err
	}
	file, err := root.OpenFile(path.Join(dir, f.Path), writeFlags, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(f.Contents); err != nil {
		return err
	}
	if gid != rotation.NoGroup {
		if err := file.Chown(-1, gid); err != nil {
			return err
		}
	}
	return file.Chmod(modeOf(f, gid))
}

func makeParents(root *os.Root, dir, parents string) error {
	if parents == "." {
		return nil
	}
	for part := range strings.SplitSeq(parents, "/") {
		dir = path.Join(dir, part)
		err := root.Mkdir(dir, dirMode)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := root.Chmod(dir, dirMode); err != nil {
			return err
		}
	}
	return nil
}

// link makes the names and then turns ..data to the new directory.
func link(root *os.Root, fresh string, files []provider.File) error {
	for _, f := range files {
		if err := linkName(root, top(f.Path)); err != nil {
			return fmt.Errorf("link %s: %w", top(f.Path), err)
		}
	}
	if err := root.Symlink(fresh, nextLink); err != nil {
		return fmt.Errorf("link %s: %w", dataLink, err)
	}
	if err := root.Rename(nextLink, dataLink); err != nil {
		return errors.Join(fmt.Errorf("link %s: %w", dataLink, err), root.Remove(nextLink))
	}
	return nil
}

func isLinked(root *os.Root, name string) bool {
	target, err := root.Readlink(name)
	return err == nil && target == visible(name)
}

// linkName makes the symlink of a top-level name. What else has the name, written
// by a provider of old, gives way.
func linkName(root *os.Root, name string) error {
	if isLinked(root, name) {
		return nil
	}
	if info, err := root.Lstat(name); err == nil && info.IsDir() {
		if err := root.RemoveAll(name); err != nil {
			return err
		}
	}
	if err := root.Symlink(visible(name), nameLink); err != nil {
		return err
	}
	return root.Rename(nameLink, name)
}

// prune removes top-level names that no file has.
func prune(root *os.Root, files []provider.File) error {
	wanted := make(map[string]bool, len(files))
	for _, f := range files {
		wanted[top(f.Path)] = true
	}
	names, err := list(root, ".")
	if err != nil {
		return err
	}
	for _, name := range names {
		if wanted[name] || strings.HasPrefix(name, reserved) {
			continue
		}
		if err := root.RemoveAll(name); err != nil {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}

func list(root *os.Root, dir string) ([]string, error) {
	file, err := root.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("list volume: %w", err)
	}
	defer closeQuietly(file)
	names, err := file.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list volume: %w", err)
	}
	return names, nil
}

func top(p string) string {
	name, _, _ := strings.Cut(p, "/")
	return name
}

func visible(name string) string { return dataLink + "/" + name }

// closeQuietly closes what was only read.
func closeQuietly(c io.Closer) { _ = c.Close() }
