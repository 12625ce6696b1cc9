package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"golang.org/x/sys/unix"
)

// listeners are where the cloud listens. There is a metadata endpoint, and an NMI, in
// each network.
type listeners struct {
	cloud.Listeners

	nodes []cloud.Listeners
}

// listen takes all addresses, or none.
func listen(ctx context.Context, o options) (listeners, error) {
	var out listeners
	var errs []error
	take := func(network, address string) net.Listener {
		if address == "" {
			return nil
		}
		var config net.ListenConfig
		made, err := config.Listen(ctx, network, address)
		if err != nil {
			errs = append(errs, err)
			return nil
		}
		return made
	}
	out.TLS, out.Cluster = take("tcp", o.listen), take("tcp", o.cluster)
	switch {
	case filepath.IsAbs(o.control):
		if err := os.Remove(o.control); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
		out.Control = take("unix", o.control)
	default:
		out.Control = take("tcp", o.control)
	}
	for pid := range strings.SplitSeq(o.networks, ",") {
		if o.metadata+o.nmi == "" {
			continue
		}
		if err := within(pid, func() {
			out.nodes = append(out.nodes, cloud.Listeners{Metadata: take("tcp", o.metadata), NMI: take("tcp", o.nmi)})
		}); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		out.close()
	}
	return out, errors.Join(errs...)
}

func (l listeners) close() {
	all := []net.Listener{l.TLS, l.Cluster, l.Control}
	for _, node := range l.nodes {
		all = append(all, node.Metadata, node.NMI)
	}
	for _, one := range all {
		if one != nil {
			_ = one.Close() // it was never used
		}
	}
}

// within calls do in the network of a process, and in this one's for an empty pid. A
// socket stays in the network that it was made in.
func within(pid string, do func()) error {
	if pid == "" {
		do()
		return nil
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread, which is elsewhere now, ends with the goroutine
		done <- func() error {
			network, err := os.Open("/proc/" + pid + "/ns/net")
			if err != nil {
				return fmt.Errorf("find the network of process %s: %w", pid, err)
			}
			defer func() { _ = network.Close() }() // only read
			if err := unix.Setns(int(network.Fd()), unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter the network of process %s: %w", pid, err)
			}
			do()
			return nil
		}()
	}()
	return <-done
}
