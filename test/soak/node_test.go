package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Only processes below the node's first one are its own.
func TestProcesses(t *testing.T) {
	t.Parallel()
	run := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	write(t, filepath.Join(run, "node-1"), os.Getpid())
	write(t, filepath.Join(run, "node-2"), cmd.Process.Pid)
	nodes, err := nodesOf(run)
	if err != nil || len(nodes) != 2 {
		t.Fatalf("%+v, %v", nodes, err)
	}
	pids, err := nodes[0].processes("sleep")
	if err != nil || !slices.Contains(pids, cmd.Process.Pid) {
		t.Errorf("%v, %v, want %d", pids, err, cmd.Process.Pid)
	}
	if err := nodes[1].signal("sleep", syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	stranger := node{name: "node-9", pid: 1 << 30}
	if pids, err := stranger.processes("sleep"); err != nil || len(pids) > 0 {
		t.Errorf("%v, %v, want none", pids, err)
	}
	if err := stranger.signal("sleep", syscall.SIGKILL); err == nil || !strings.Contains(err.Error(), "there is no sleep on node-9") {
		t.Error(err)
	}
}

// write makes the folder of a node.
func write(t *testing.T, dir string, pid int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(pid)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestNoGround(t *testing.T) {
	t.Parallel()
	if _, err := nodesOf(t.TempDir()); err == nil {
		t.Error("no node is a ground")
	}
}

func TestFaultsAreAllDrawn(t *testing.T) {
	t.Parallel()
	s := &soak{}
	s.seeded(1)
	d := s.lapses()
	drawn := map[string]bool{}
	for range d.all {
		drawn[d.draw(s).name] = true
	}
	if len(drawn) != len(d.all) {
		t.Errorf("drawn: %v", drawn)
	}
}
