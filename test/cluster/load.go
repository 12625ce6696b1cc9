package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/strongroom/strongroom/test/cluster/internal/image"
	"github.com/strongroom/strongroom/test/cluster/internal/node"
	"github.com/strongroom/strongroom/test/internal/plan"
)

var errDown = errors.New("the cluster is not up")

// alive returns the cluster of the run folder, or errDown unless the first process
// of each of its nodes is there.
func (t *tool) alive() (plan.Cluster, error) {
	c, err := plan.Load(t.run)
	if err != nil {
		return c, errDown
	}
	if err := stopped(c); err != nil {
		return c, fmt.Errorf("%w: %w", errDown, err)
	}
	return c, nil
}

// stopped says which node's first process is gone, if one's is.
func stopped(c plan.Cluster) error {
	for _, n := range c.Nodes() {
		if node.Pid(n) == 0 {
			return fmt.Errorf("%s stopped, last in its log: %s", n.Name(), lastLog(n))
		}
	}
	return nil
}

func (t *tool) load(ctx context.Context, archives []string) error {
	if len(archives) == 0 {
		return errUsage
	}
	c, err := t.alive()
	if err != nil {
		return err
	}
	for _, archive := range archives {
		if err := t.log.Do("load "+filepath.Base(archive), func() error { return loadAll(ctx, c, archive) }); err != nil {
			return err
		}
	}
	return nil
}

func loadAll(ctx context.Context, c plan.Cluster, archive string) error {
	for _, n := range c.Nodes() {
		if err := image.Load(ctx, node.Containerd(n), archive); err != nil {
			return fmt.Errorf("%s: %w", n.Name(), err)
		}
	}
	return nil
}

func (t *tool) status(ctx context.Context) error {
	c, err := t.alive()
	if err != nil {
		return err
	}
	nodes, err := kubectl(ctx, c, "get", "nodes", "--output=wide", "--request-timeout=5s")
	if err != nil {
		return fmt.Errorf("the API server does not answer: %s", nodes)
	}
	fmt.Printf(`run folder   %s
kubeconfig   %s
API server   %s
in pods      https://%s
host         %s (how nodes and pods reach this machine)
audit log    %s
`, c.Run, c.Kubeconfig(), c.Server(), c.API(), c.Host(), c.Audit())
	for _, n := range c.Nodes() {
		fmt.Printf("%-12s pods %s, files /proc/%d/root, containerd %s\n", n.Name(), n.Pods(), node.Pid(n), node.Containerd(n))
	}
	fmt.Printf("\n%s\n", nodes)
	if out, err := kubectl(ctx, c, ready(c, "1s")...); err != nil {
		return fmt.Errorf("not every node is ready: %s", out)
	}
	return nil
}
