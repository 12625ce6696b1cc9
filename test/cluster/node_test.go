//go:build node

// These tests bring real nodes up, so they want root and a minute or two:
//
//	go test -tags=node ./cluster
package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom/strongroom/test/cluster/internal/cgroup"
	"github.com/strongroom/strongroom/test/cluster/internal/node"
	"github.com/strongroom/strongroom/test/internal/ground/process"
	"github.com/strongroom/strongroom/test/internal/plan"
)

// deadline is for what takes a second or twenty on an idle machine.
const deadline = 4 * time.Minute

// runFolder is always the same: a test that was killed is cleaned up after by
// the next one.
const runFolder = "/var/tmp/strongroom/test-cluster"

// ground is a cluster of a test's own, beside one that may be up.
type ground struct {
	*testing.T
	tool string
	c    plan.Cluster
}

func newGround(t *testing.T) *ground {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("these tests want root")
	}
	dir := t.TempDir()
	g := &ground{T: t, tool: filepath.Join(dir, "cluster"), c: plan.Cluster{Run: runFolder, Count: 2}}
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", g.tool, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the tool: %v\n%s", err, out)
	}
	g.must("down")
	t.Cleanup(func() { _ = g.command("down").Run() })
	return g
}

func (g *ground) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(context.WithoutCancel(g.Context()), g.tool, args...) // also for clean-up
	cmd.Env = append(os.Environ(), "STRONGROOM_RUN="+string(g.c.Run))
	return cmd
}

func upArgs(nodes int) []string {
	return []string{"up", "--network=10.203.0.0/16", fmt.Sprintf("--nodes=%d", nodes)}
}

// must runs the tool and returns what it said.
func (g *ground) must(args ...string) string {
	g.Helper()
	out, err := g.command(args...).CombinedOutput()
	if err != nil {
		g.Fatalf("cluster %s: %v\n%s", args[0], err, out)
	}
	return string(out)
}

func (g *ground) await(what string, yes func() bool) {
	g.Helper()
	for end := time.Now().Add(deadline); !yes(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			g.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestKilledDuringUp(t *testing.T) {
	moments := []struct {
		name string
		when func(g *ground) bool
	}{
		{"folder made", func(g *ground) bool { return g.c.Run.Exists() }},
		{"cgroup made", func(g *ground) bool { return len(g.cgroups()) > 0 }},
		{"first process started", func(g *ground) bool { return node.Pid(g.c.Node(1)) != 0 }},
		{"cable laid", func(g *ground) bool { return g.cable() }},
		{"second node started", func(g *ground) bool { return node.Pid(g.c.Node(2)) != 0 }},
		{"second cable laid", func(g *ground) bool { return exists(g.c.Logs("node-2-containerd")) }},
		{"API server started", func(g *ground) bool { return exists(g.c.Logs("kube-apiserver")) }},
		{"kubelet started", func(g *ground) bool { return exists(g.c.Logs("node-2-kubelet")) }},
	}
	for _, m := range moments {
		t.Run(m.name, func(t *testing.T) {
			g := newGround(t)
			up := g.command(upArgs(2)...)
			if err := up.Start(); err != nil {
				t.Fatal(err)
			}
			g.await(m.name, func() bool { return m.when(g) })
			_ = up.Process.Kill()
			_ = up.Wait()
			g.must("down")
			g.nothingLeft(nil)
		})
	}
}

func TestInterruptedDuringUp(t *testing.T) {
	g := newGround(t)
	up := g.command(upArgs(2)...)
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	g.await("the API server and the second node start", func() bool {
		return exists(g.c.Logs("kube-apiserver")) && exists(g.c.Logs("node-2-containerd"))
	})
	spaces := g.namespaces(g.c.Nodes()...)
	if err := up.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := up.Wait(); err == nil {
		t.Error("an interrupted up said that all is well")
	}
	g.nothingLeft(spaces)
}

func TestSecondNodeDiesDuringUp(t *testing.T) {
	g := newGround(t)
	up := g.command(upArgs(2)...)
	var said bytes.Buffer
	up.Stderr = &said
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	g.await("the second node starts", func() bool { return exists(g.c.Logs("node-2-containerd")) })
	if err := syscall.Kill(node.Pid(g.c.Node(2)), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := up.Wait(); err == nil || !strings.Contains(said.String(), "node-2 stopped") {
		t.Errorf("up said %q, %v", said.String(), err)
	}
	g.nothingLeft(nil)
	if err := os.RemoveAll(kept(g.c)); err != nil {
		t.Error(err)
	}
}

func TestLife(t *testing.T) {
	g := newGround(t)
	g.must(upArgs(1)...)
	g.must("status")
	if out := g.must(upArgs(1)...); !strings.Contains(out, "already up") {
		t.Errorf("the second up said %q", out)
	}
	if out, err := g.command(upArgs(2)...).CombinedOutput(); err == nil || !strings.Contains(string(out), "other flags") {
		t.Errorf("up with more nodes said %q, %v", out, err)
	}
	spaces := g.namespaces(g.c.Node(1))
	if err := syscall.Kill(node.Pid(g.c.Node(1)), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	g.await("the kernel has cleaned up", func() bool { return len(g.marked()) == 0 && !g.cable() })
	if err := g.command("status").Run(); err == nil {
		t.Error("status calls a dead cluster healthy")
	}
	g.must(upArgs(2)...) // heals
	g.must("status")
	g.reload()
	g.runPods()
	g.audited()
	spaces = append(spaces, g.namespaces(g.c.Nodes()...)...)
	g.must("down")
	g.nothingLeft(spaces)
	g.must("down") // once more does no harm
}

// nothingLeft fails the test for whatever there still is of the cluster. Dying
// takes the kernel a moment.
func (g *ground) nothingLeft(spaces []string) {
	g.Helper()
	var left []string
	end := time.Now().Add(10 * time.Second)
	for time.Now().Before(end) {
		if left = g.left(spaces); len(left) == 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	g.Errorf("left behind:\n%s", strings.Join(left, "\n"))
}

func (g *ground) left(spaces []string) []string {
	left := append(g.marked(), g.cgroups()...)
	left = append(left, g.mounts()...)
	if g.cable() {
		left = append(left, "network interface "+g.c.Link())
	}
	if exists(string(g.c.Run)) {
		left = append(left, "run folder "+string(g.c.Run))
	}
	for _, s := range spaces {
		if held, _ := filepath.Glob("/proc/[0-9]*/ns/*"); contains(held, s) {
			left = append(left, "namespace "+s)
		}
	}
	return left
}

func (g *ground) marked() []string {
	var all []string
	pids, err := process.Find(string(g.c.Run))
	if err != nil {
		g.Fatal(err)
	}
	inside, err := cgroup.Processes(g.c.Cgroup())
	if err != nil {
		g.Fatal(err)
	}
	for _, pid := range append(pids, inside...) {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		all = append(all, fmt.Sprintf("process %d %s", pid, bytes.ReplaceAll(b, []byte{0}, []byte(" "))))
	}
	return all
}

func (g *ground) cgroups() []string {
	var all []string
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, _ := filepath.Glob(pattern + g.c.Cgroup())
		all = append(all, found...)
	}
	return all
}

// mounts looks into every mount namespace that a process is in.
func (g *ground) mounts() []string {
	var all []string
	files, _ := filepath.Glob("/proc/[0-9]*/mountinfo")
	for _, f := range files {
		b, _ := os.ReadFile(f)
		if bytes.Contains(b, []byte(g.c.Run)) {
			all = append(all, "mounts in "+f)
		}
	}
	return all
}

// namespaces returns those of the nodes' first processes.
func (g *ground) namespaces(nodes ...plan.Node) []string {
	g.Helper()
	var all []string
	for _, kind := range []string{"pid", "mnt", "net", "uts", "ipc"} {
		own, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			g.Fatal(err)
		}
		for _, n := range nodes {
			s, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", node.Pid(n), kind))
			if err != nil {
				g.Fatal(err)
			}
			if s == own || slices.Contains(all, s) {
				g.Fatalf("%s shares %s with the machine or another node", n.Name(), s)
			}
			all = append(all, s)
		}
	}
	return all
}

func (g *ground) cable() bool {
	_, err := net.InterfaceByName(g.c.Link())
	return err == nil
}

func contains(links []string, target string) bool {
	for _, l := range links {
		if t, err := os.Readlink(l); err == nil && t == target {
			return true
		}
	}
	return false
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
