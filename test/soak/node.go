package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// node is a node of the test ground, as this machine sees it.
type node struct {
	name string
	pid  int // of its first process
	lib  string
}

// nodesOf finds the nodes by their run folder.
func nodesOf(run string) ([]node, error) {
	files, err := filepath.Glob(filepath.Join(run, "node-*", "pid"))
	if err != nil || len(files) == 0 {
		return nil, errors.Join(fmt.Errorf("no node in %s: is the cluster up? See test/ground.sh", run), err)
	}
	var nodes []node
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		dir := filepath.Dir(file)
		nodes = append(nodes, node{name: filepath.Base(dir), pid: pid, lib: filepath.Join(dir, "lib")})
	}
	return nodes, nil
}

// reportsOnNode is where the observers' folder is for a pod.
const reportsOnNode = "/var/lib/strongroom-soak"

func (n node) reports() string { return filepath.Join(n.lib, filepath.Base(reportsOnNode)) }

// has says whether the folder of a pod is on the node.
func (n node) has(uid string) bool {
	_, err := os.Lstat(filepath.Join(n.lib, "kubelet", "pods", uid))
	return err == nil
}

// volumes are the mounts of CSI volumes of the node.
func (n node) volumes() ([]string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", n.pid))
	if err != nil {
		return nil, fmt.Errorf("list the mounts of %s: %w", n.name, err)
	}
	var all []string
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.Contains(fields[1], "/volumes/kubernetes.io~csi/") {
			all = append(all, fields[1])
		}
	}
	return all, nil
}

// processes are those of a program, by the name of its file.
func (n node) processes(program string) ([]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	parents, named := map[int]int{}, []int{}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		parents[pid] = parentOf(dir)
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if first, _, _ := bytes.Cut(line, []byte{0}); err == nil && filepath.Base(string(first)) == program {
			named = append(named, pid)
		}
	}
	var ours []int
	for _, pid := range named {
		for p := pid; p > 1; p = parents[p] {
			if p == n.pid {
				ours = append(ours, pid)
				break
			}
		}
	}
	return ours, nil
}

// parentOf reads the fourth field; the second, in brackets, can hold anything.
func parentOf(dir string) int {
	text, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return 0 // gone
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	parent, _ := strconv.Atoi(fields[1])
	return parent
}

// signal goes to every process of a program, of which there must be one.
func (n node) signal(program string, sig syscall.Signal) error {
	pids, err := n.processes(program)
	if err != nil {
		return err
	}
	sent := 0
	for _, pid := range pids {
		if syscall.Kill(pid, sig) == nil {
			sent++
		}
	}
	if sent == 0 {
		return fmt.Errorf("there is no %s on %s now", program, n.name)
	}
	return nil
}
