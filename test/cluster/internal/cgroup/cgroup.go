package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// hierarchy is a mounted cgroup file system.
type hierarchy struct {
	dir     string
	unified bool
}

// hierarchies reads what is mounted from the text of /proc/self/mountinfo.
func hierarchies(mountinfo string) []hierarchy {
	var all []hierarchy
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 5 {
			continue
		}
		switch kind, _, _ := strings.Cut(after, " "); kind {
		case "cgroup":
			all = append(all, hierarchy{dir: fields[4]})
		case "cgroup2":
			all = append(all, hierarchy{dir: fields[4], unified: true})
		}
	}
	return all
}

func mounted() ([]hierarchy, error) {
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	all := hierarchies(string(b))
	if len(all) == 0 {
		return nil, errors.New("no cgroup hierarchy is mounted")
	}
	return all, nil
}

// Make creates the cgroup wherever a container runtime would look for it.
func Make(name string) error {
	all, err := mounted()
	if err != nil {
		return fmt.Errorf("make cgroup %s: %w", name, err)
	}
	for _, h := range all {
		if err := h.make(name); err != nil {
			return fmt.Errorf("make cgroup %s in %s: %w", name, h.dir, err)
		}
	}
	return nil
}

func (h hierarchy) make(name string) error {
	if err := os.Mkdir(filepath.Join(h.dir, name), 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if h.unified {
		return h.delegate(name)
	}
	// A cgroup of the old cpuset controller is unusable while these are empty.
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		b, err := os.ReadFile(filepath.Join(h.dir, file))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(h.dir, name, file), b, 0o600)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// delegate switches on, down to the cgroup, whatever controllers there are. A
// controller that cannot be switched on is kubelet's to complain about.
func (h hierarchy) delegate(name string) error {
	b, err := os.ReadFile(filepath.Join(h.dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for controller := range strings.FieldsSeq(string(b)) {
		for _, dir := range []string{h.dir, filepath.Join(h.dir, name)} {
			_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0o600)
		}
	}
	return nil
}

// Processes returns who is in the cgroup or below it.
func Processes(name string) ([]int, error) {
	all, err := mounted()
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, h := range all {
		for _, dir := range below(filepath.Join(h.dir, name)) {
			b, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			for s := range strings.FieldsSeq(string(b)) {
				if pid, err := strconv.Atoi(s); err == nil {
					pids = append(pids, pid)
				}
			}
		}
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// Remove removes the cgroup and those below it. It waits for processes that
// are on their way out.
func Remove(ctx context.Context, name string) error {
	all, err := mounted()
	if err != nil {
		return fmt.Errorf("remove cgroup %s: %w", name, err)
	}
	for _, h := range all {
		for {
			err := h.remove(name)
			if err == nil {
				break
			}
			if !errors.Is(err, syscall.EBUSY) {
				return fmt.Errorf("remove cgroup: %w", err)
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("remove cgroup: %w", err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

func (h hierarchy) remove(name string) error {
	dirs := below(filepath.Join(h.dir, name))
	slices.Reverse(dirs)
	for _, dir := range dirs {
		if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, syscall.ENOENT) {
			return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
		}
	}
	return nil
}

// below returns a folder and all folders in it, outer ones first.
func below(dir string) []string {
	var dirs []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	return dirs
}
