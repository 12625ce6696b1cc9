package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/strongroom/strongroom/test/cluster/internal/cgroup"
	"github.com/strongroom/strongroom/test/cluster/internal/node"
	"github.com/strongroom/strongroom/test/internal/ground/process"
	"github.com/strongroom/strongroom/test/internal/plan"
)

func (t *tool) down(ctx context.Context) error {
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := needRoot(); err != nil {
		return err
	}
	return t.log.Do("bring the cluster down", func() error {
		return t.remove(ctx, plan.Cluster{Run: t.run})
	})
}

// remove leaves nothing of the cluster in a run folder. It needs nothing from
// that folder: what is outside of it is named after it. A Vault that lives in
// the folder goes with it.
func (t *tool) remove(ctx context.Context, c plan.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := end(ctx, c); err != nil {
		return err
	}
	if err := node.Disconnect(ctx, c.Node(1)); err != nil {
		return err
	}
	if err := cgroup.Remove(ctx, c.Cgroup()); err != nil {
		return err
	}
	return t.run.Remove()
}

// end stops every process.
func end(ctx context.Context, c plan.Cluster) error {
	if err := process.End(ctx, c.Run.Path("vault"), 2*time.Second); err != nil {
		return err
	}
	return node.Hold(ctx, string(c.Run), func() error {
		return process.End(ctx, string(c.Run), 2*time.Second)
	})
}

// clean removes a cluster that did not come up. The logs of a failure are
// kept; of one that was interrupted, nothing.
func (t *tool) clean(ctx context.Context, c plan.Cluster) error {
	if ctx.Err() == nil {
		if err := keep(c.Run.Path("log"), kept(c)); err == nil {
			t.log.Say("the logs are in %s", kept(c))
		}
	}
	return t.log.Do("remove what was started", func() error {
		return t.remove(context.WithoutCancel(ctx), c)
	})
}

// kept is where the logs of a failure are.
func kept(c plan.Cluster) string { return filepath.Join(os.TempDir(), "strongroom-log-"+c.Run.ID()) }

func keep(logs, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return os.CopyFS(dir, os.DirFS(logs))
}

func (t *tool) lock(ctx context.Context) (func(), error) {
	return t.run.Lock(ctx, func() { t.log.Say("wait for another tool that works on %s", t.run) })
}

func needRoot() error {
	if os.Geteuid() != 0 {
		return errors.New("only root can make the namespaces of a node")
	}
	return nil
}
