package plan

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
)

// The images that a node has from the start.
const (
	PauseImage   = "strongroom.test/pause:1"
	BusyboxImage = "docker.io/library/busybox:stable"
)

// Containerd is the socket of containerd inside a node.
const Containerd = "/run/containerd/containerd.sock"

// Node is one node of a cluster.
type Node struct {
	Cluster
	Number byte
}

// First says whether the control plane runs on the node.
func (n Node) First() bool { return n.Number == 1 }

// Name is the node's name in the cluster, and its host name.
func (n Node) Name() string { return fmt.Sprintf("node-%d", n.Number) }

// Addr is the node's address.
func (n Node) Addr() netip.Addr { return n.addr(0, 10+n.Number) }

// AddrPrefix is the node's address with the range of all nodes.
func (n Node) AddrPrefix() netip.Prefix { return netip.PrefixFrom(n.Addr(), 24) }

// Pods is the range of the node's pods.
func (n Node) Pods() netip.Prefix { return netip.PrefixFrom(n.addr(16+n.Number, 0), 24) }

// Dir is a path in the node's part of the run folder.
func (n Node) Dir(elem ...string) string {
	return n.Run.Path(append([]string{n.Name()}, elem...)...)
}

// Pid is the file with the process number of the node's init.
func (n Node) Pid() string { return n.Dir("pid") }

// Cgroup is the name of the cgroup below which the node keeps its pods.
func (n Node) Cgroup() string { return n.Cluster.Cgroup() + "/" + n.Name() }

// CNI is the folder of Debian's network plugins, or of the usual place.
func CNI() string {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if _, err := exec.LookPath(filepath.Join(dir, "bridge")); err == nil {
			return dir
		}
	}
	return "/usr/lib/cni"
}

// Plugins is what the API server's --enable-admission-plugins gets.
func (c Cluster) Plugins() string {
	return strings.Join(append([]string{"NodeRestriction"}, c.Admission...), ",")
}
