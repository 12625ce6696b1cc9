package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/test/internal/plan"
)

const (
	cable  = "eth0"  // the node's end
	bridge = "nodes" // the first node's joins the nodes: the others plug their cables in
)

// Connect lays the cable of a node: from this machine to the first process of the
// first node, from there to that of another one. Everything it makes disappears
// with the network namespaces of the nodes.
func Connect(ctx context.Context, n plan.Node, pid int) error {
	end := " type veth peer name " + cable + " netns " + strconv.Itoa(pid)
	pods := "route add " + n.Pods().String() + " via " + n.Addr().String() + " dev " + n.Link()
	if !n.First() {
		if err := ipIn(ctx, Pid(n.Node(1)), "link add "+n.Name()+" master "+bridge+" up"+end); err != nil {
			return err
		}
		return ip(ctx, pods)
	}
	host := netip.PrefixFrom(n.Host(), n.AddrPrefix().Bits())
	return ip(ctx,
		"link add "+bridge+" netns "+strconv.Itoa(pid)+" type bridge",
		"link add "+n.Link()+end,
		"addr add "+host.String()+" dev "+n.Link(),
		"link set "+n.Link()+" up",
		pods,
	)
}

// network sets up the inside.
func network(ctx context.Context, n plan.Node) error {
	if err := ip(ctx, append(addresses(n), routes(n)...)...); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600)
}

// addresses are the node's own. That of the service "kubernetes" is put where the
// API server listens, so that no kube-proxy is needed.
func addresses(n plan.Node) []string {
	dev, commands := cable, []string{"link set lo up"}
	if n.First() {
		dev = bridge
		commands = append(commands,
			"link set "+cable+" master "+bridge+" up",
			"addr add "+n.API().String()+"/32 dev lo")
	}
	return append(commands,
		"addr add "+n.AddrPrefix().String()+" dev "+dev,
		"link set "+dev+" up")
}

// routes lead to the pods of the other nodes and to the API server.
func routes(n plan.Node) []string {
	var commands []string
	if !n.First() {
		commands = append(commands, "route add "+n.API().String()+" via "+n.Node(1).Addr().String())
	}
	for _, o := range n.Nodes() {
		if o.Number != n.Number {
			commands = append(commands, "route add "+o.Pods().String()+" via "+o.Addr().String())
		}
	}
	return commands
}

// Disconnect waits until the kernel has removed the cable, and helps if it
// does not.
func Disconnect(ctx context.Context, n plan.Node) error {
	help := time.Now().Add(5 * time.Second)
	for {
		if !linked(n) {
			return nil
		}
		if time.Now().After(help) {
			return ip(ctx, "link del "+n.Link())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait until %s is gone: %w", n.Link(), ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func linked(n plan.Node) bool {
	_, err := net.InterfaceByName(n.Link())
	return err == nil
}

// Free says which interface of this machine uses the cluster's addresses.
func Free(c plan.Cluster) error {
	links, err := net.Interfaces()
	if err != nil {
		return err
	}
	for _, l := range links {
		addrs, err := l.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			p, err := netip.ParsePrefix(a.String())
			if err == nil && p.Overlaps(c.Network) {
				return fmt.Errorf("network %s: %s has %s, choose another one with --network", c.Network, l.Name, p)
			}
		}
	}
	return nil
}

func ip(ctx context.Context, commands ...string) error {
	for _, c := range commands {
		if out, err := exec.CommandContext(ctx, "ip", strings.Fields(c)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", c, err, out)
		}
	}
	return nil
}

// ipIn runs a command in the network namespace of a process.
func ipIn(ctx context.Context, pid int, command string) error {
	args := append([]string{fmt.Sprintf("--net=/proc/%d/ns/net", pid), "ip"}, strings.Fields(command)...)
	if out, err := exec.CommandContext(ctx, "nsenter", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s, in the network of process %d: %w: %s", command, pid, err, out)
	}
	return nil
}
