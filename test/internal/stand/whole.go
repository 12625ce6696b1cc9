package stand

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Files are the files of a volume and what is in them.
type Files map[string]string

// State is what a volume is found to be.
type State string

// A volume that is neither whole nor nothing is described in words.
const (
	Nothing State = "nothing"
	Whole   State = "whole"
	// Unfilled is a tmpfs without content, as the upstream driver leaves it behind.
	Unfilled State = "unfilled"
)

// Look says what is at the volume's target, as somebody sees it who only looks.
func (v Volume) Look(files Files) (State, error) {
	mounts, err := v.Node.Mounts()
	if err != nil {
		return "", err
	}
	var mine []Mount
	for _, m := range mounts {
		if strings.HasPrefix(m.Target, v.dir()+"/") {
			mine = append(mine, m)
		}
	}
	switch {
	case len(mine) == 0:
		return Nothing, nil
	case len(mine) > 1:
		return State(fmt.Sprintf("%d mounts: %v", len(mine), mine)), nil
	case mine[0].Target != v.Target() || mine[0].Type != "tmpfs":
		return State(fmt.Sprintf("mounted: %v", mine[0])), nil
	}
	if _, err := os.Lstat(filepath.Join(v.Target(), "..data")); errors.Is(err, fs.ErrNotExist) {
		return Unfilled, nil
	}
	if difference := v.check(files); difference != nil {
		return State(difference.Error()), nil //nolint:nilerr // it is the state
	}
	return Whole, nil
}

// check compares all that is in the volume with what should be.
func (v Volume) check(files Files) error {
	entries, err := os.ReadDir(v.Target())
	if err != nil {
		return err
	}
	generations := 0
	tops := map[string]bool{}
	for name := range files {
		top, _, _ := strings.Cut(name, "/")
		tops[top] = true
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "..data", tops[name]:
		case strings.HasPrefix(name, "..2") && e.IsDir():
			generations++
		default:
			return fmt.Errorf("there is an unexpected %s", name)
		}
	}
	if generations != 1 {
		return fmt.Errorf("there are %d generations", generations)
	}
	return v.Shows(files)
}

// Shows is an error unless a pod finds these files, all of them and no others. What an
// interrupted change left behind where no pod looks is of no interest.
func (v Volume) Shows(files Files) error {
	for name, want := range files {
		if err := v.checkFile(name, want); err != nil {
			return err
		}
	}
	return v.checkCount(len(files))
}

func (v Volume) checkFile(name, want string) error {
	file := filepath.Join(v.Target(), name)
	got, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("%s holds %d bytes, %.40q, want %d, %.40q", name, len(got), got, len(want), want)
	}
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || info.Mode() != 0o644 || strconv.Itoa(int(stat.Gid)) != v.group() {
		return fmt.Errorf("%s has mode %v, stat %+v", name, info.Mode(), stat)
	}
	return nil
}

func (v Volume) group() string {
	if v.Group == "" {
		return "0"
	}
	return v.Group
}

// checkCount looks for files that are too many.
func (v Volume) checkCount(want int) error {
	found := 0
	data := filepath.Join(v.Target(), "..data") + "/"
	err := filepath.WalkDir(data, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			found++
		}
		return err
	})
	if err == nil && found != want {
		err = fmt.Errorf("there are %d files, want %d", found, want)
	}
	return err
}

// Gone is an error if the target is there.
func (v Volume) Gone() error {
	_, err := os.Lstat(v.Target())
	switch {
	case err == nil:
		return fmt.Errorf("target %s is still there", v.Target())
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}
