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
	bridge = "nodes" // joins the nodes; a second one plugs its cable in here
)

// Connect lays the cable between this machine and the network namespace of a
// process. Everything it makes disappears with that namespace.
func Connect(ctx context.Context, n plan.Node, pid int) error {
	link := n.Link()
	host := netip.PrefixFrom(n.Host(), n.AddrPrefix().Bits())
	return ip(ctx,
		"link add "+link+" type veth peer name "+cable+" netns "+strconv.Itoa(pid),
		"addr add "+host.String()+" dev "+link,
		"link set "+link+" up",
		"route add "+n.Pods().String()+" via "+n.Addr().String()+" dev "+link,
	)
}

// network sets up the inside. The address of the service "kubernetes" is put
// where the API server listens, so that no kube-proxy is needed.
func network(ctx context.Context, n plan.Node) error {
	if err := ip(ctx,
		"link set lo up",
		"link add "+bridge+" type bridge",
		"link set "+cable+" master "+bridge+" up",
		"addr add "+n.AddrPrefix().String()+" dev "+bridge,
		"link set "+bridge+" up",
		"addr add "+n.API().String()+"/32 dev lo",
	); err != nil {
		return err
	}
	return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o600)
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
