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

func (t *tool) load(ctx context.Context, archives []string) error {
	if len(archives) == 0 {
		return errUsage
	}
	c, err := plan.Load(t.run)
	if err != nil || node.Pid(c.Node(1)) == 0 {
		return errDown
	}
	for _, archive := range archives {
		err := t.log.Do("load "+filepath.Base(archive), func() error {
			return image.Load(ctx, node.Containerd(c.Node(1)), archive)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tool) status(ctx context.Context) error {
	c, err := plan.Load(t.run)
	if err != nil || node.Pid(c.Node(1)) == 0 {
		return errDown
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
pods         %s
containerd   %s

%s
`, c.Run, c.Kubeconfig(), c.Server(), c.API(), c.Host(), c.Node(1).Pods(), node.Containerd(c.Node(1)), nodes)
	if _, err := kubectl(ctx, c, "wait", "--for=condition=Ready", "node", c.Node(1).Name(), "--timeout=1s"); err != nil {
		return errors.New("the node is not ready")
	}
	return nil
}
