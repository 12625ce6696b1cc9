//go:build node

package main

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/test/cluster/internal/node"
	"github.com/strongroom/strongroom/test/internal/plan"
)

// kubectl fails the test unless the command succeeds.
func (g *ground) kubectl(args ...string) string {
	g.Helper()
	c, err := plan.Load(g.c.Run)
	if err != nil {
		g.Fatal(err)
	}
	out, err := kubectl(g.Context(), c, args...)
	if err != nil {
		g.Fatalf("kubectl %s: %v: %s", args[0], err, out)
	}
	return out
}

// reload takes an image from every node and loads it again.
func (g *ground) reload() {
	g.Helper()
	ctr := func(n plan.Node, args ...string) string {
		args = append([]string{"--address", node.Containerd(n), "--namespace", "k8s.io", "images"}, args...)
		out, err := exec.CommandContext(g.Context(), "ctr", args...).CombinedOutput()
		if err != nil {
			g.Fatalf("%s: ctr %v: %v: %s", n.Name(), args, err, out)
		}
		return string(out)
	}
	for _, n := range g.c.Nodes() {
		ctr(n, "rm", plan.BusyboxImage)
	}
	g.must("load", g.c.Run.Path("images", "base-1.tar"))
	for _, n := range g.c.Nodes() {
		if have := ctr(n, "ls", "-q"); !slices.Contains(strings.Fields(have), plan.BusyboxImage) {
			g.Errorf("%s has %q after load", n.Name(), have)
		}
	}
}

// runPods runs a pod on each node and lets them talk. It leaves them there, so
// that there are containers, cgroups and mounts for down to remove.
func (g *ground) runPods() {
	g.Helper()
	const script = "echo said; echo here >/index.html; exec httpd -f -p 80 -h /"
	for _, n := range g.c.Nodes() {
		g.kubectl("run", "on-"+n.Name(), "--image="+plan.BusyboxImage,
			fmt.Sprintf(`--overrides={"spec":{"nodeName":%q}}`, n.Name()), "--", "sh", "-c", script)
	}
	c, err := plan.Load(g.c.Run)
	if err != nil {
		g.Fatal(err)
	}
	machine := g.listen(c.Host().String())
	for _, n := range g.c.Nodes() {
		g.kubectl("wait", "--for=condition=Ready", "pod/on-"+n.Name(), "--timeout=2m")
	}
	for _, n := range g.c.Nodes() {
		if out := g.kubectl("logs", "on-"+n.Name()); out != "said" {
			g.Errorf("log of the pod on %s: %q", n.Name(), out)
		}
		for what, at := range map[string][3]string{
			"a pod of node 1": {g.address("on-node-1"), "80", "here"},
			"a pod of node 2": {g.address("on-node-2"), "80", "here"},
			"the API server":  {c.API().String(), "443", "HTTPS server"},
			"this machine":    {c.Host().String(), machine, "here"},
		} {
			ask := fmt.Sprintf(`printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 5 %s %s`, at[0], at[1])
			if out := g.kubectl("exec", "on-"+n.Name(), "--", "sh", "-c", ask); !strings.Contains(out, at[2]) {
				g.Errorf("%s asks %s: %q", n.Name(), what, out)
			}
		}
	}
}

func (g *ground) address(pod string) string {
	g.Helper()
	return g.kubectl("get", "pod", pod, "--output=jsonpath={.status.podIP}")
}

// listen says "here" to whoever connects to an address of this machine, and
// returns the port.
func (g *ground) listen(host string) string {
	g.Helper()
	l, err := (&net.ListenConfig{}).Listen(g.Context(), "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		g.Fatal(err)
	}
	g.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, "here\n")
			_ = c.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}
