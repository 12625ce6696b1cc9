package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/strongroom/strongroom/test/cluster/internal/cgroup"
	"github.com/strongroom/strongroom/test/cluster/internal/config"
	"github.com/strongroom/strongroom/test/cluster/internal/image"
	"github.com/strongroom/strongroom/test/cluster/internal/node"
	"github.com/strongroom/strongroom/test/internal/ground/folder"
	"github.com/strongroom/strongroom/test/internal/ground/step"
	"github.com/strongroom/strongroom/test/internal/plan"
)

// patience is how long the nodes may take to become ready. It takes 10 s on two
// idle cores.
const patience = 2 * time.Minute

// tool is what every command works with.
type tool struct {
	log *step.Log
	run folder.Folder
}

func (t *tool) up(ctx context.Context, args []string) error {
	want, err := t.choose(args)
	if err != nil {
		return err
	}
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if done, err := t.present(ctx, want); done || err != nil {
		return err
	}
	if err := t.prepare(ctx, &want); err != nil {
		return err
	}
	if err := t.start(ctx, want); err != nil {
		return errors.Join(err, t.clean(ctx, want))
	}
	t.log.Say("up: export KUBECONFIG=%s", want.Kubeconfig())
	return nil
}

func (t *tool) choose(args []string) (plan.Cluster, error) {
	c := plan.Cluster{Run: t.run}
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	network := flags.String("network", plan.DefaultNetwork, "range of 16 bits for every address of the cluster")
	admission := flags.String("enable-admission-plugins", "", "further admission plugins, with commas between")
	flags.IntVar(&c.Count, "nodes", 1, fmt.Sprintf("how many nodes, at most %d; the first has the control plane", plan.MaxNodes))
	if err := flags.Parse(args); err != nil {
		return c, err
	}
	if flags.NArg() > 0 {
		return c, errUsage
	}
	var err error
	if c.Network, err = netip.ParsePrefix(*network); err != nil {
		return c, fmt.Errorf("flag --network: %w", err)
	}
	if *admission != "" {
		c.Admission = strings.Split(*admission, ",")
	}
	return c, c.Validate()
}

// present says whether there is nothing left to do. What is only half there is
// brought down first.
func (t *tool) present(ctx context.Context, want plan.Cluster) (bool, error) {
	have, err := t.alive()
	if err == nil {
		short, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if _, err := kubectl(short, have, ready(have, "8s")...); err == nil {
			if !have.Same(want) {
				return false, errors.New("the cluster is up with other flags, bring it down first")
			}
			t.log.Say("already up: export KUBECONFIG=%s", have.Kubeconfig())
			return true, nil
		}
	}
	if t.run.Exists() {
		t.log.Say("remove what is left of an earlier cluster")
	}
	return false, t.remove(ctx, want)
}

// prepare does what may be done again and again: packages, binaries.
func (t *tool) prepare(ctx context.Context, c *plan.Cluster) error {
	if err := needRoot(); err != nil {
		return err
	}
	if err := t.packages(ctx); err != nil {
		return err
	}
	cache, err := t.binaries(ctx)
	if err != nil {
		return err
	}
	c.Bin = filepath.Dir(cache.Bin("kubelet"))
	return node.Free(*c)
}

func (t *tool) start(ctx context.Context, c plan.Cluster) error {
	for _, s := range []struct {
		name string
		do   func() error
	}{
		{"write the settings", func() error { return t.settings(ctx, c) }},
		{"start the nodes", func() error { return startAll(ctx, c) }},
		{"wait for the API server", func() error {
			return t.until(ctx, c, "get", "--raw", "/readyz")
		}},
		{"wait for the nodes", func() error {
			return t.until(ctx, c, ready(c, "5s")...)
		}},
		{"wait for the service account", func() error {
			return t.until(ctx, c, "get", "serviceaccount", "default")
		}},
	} {
		if err := t.log.Do(s.name, s.do); err != nil {
			return err
		}
	}
	return nil
}

func startAll(ctx context.Context, c plan.Cluster) error {
	for _, n := range c.Nodes() {
		if err := node.Start(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// ready are the arguments with which kubectl waits for every node.
func ready(c plan.Cluster, timeout string) []string {
	args := []string{"wait", "--for=condition=Ready", "--timeout=" + timeout, "node"}
	for _, n := range c.Nodes() {
		args = append(args, n.Name())
	}
	return args
}

func (t *tool) settings(ctx context.Context, c plan.Cluster) error {
	if err := c.Run.Create(); err != nil {
		return err
	}
	if err := c.Save(); err != nil {
		return err
	}
	if err := config.Write(c); err != nil {
		return err
	}
	if _, err := image.Base(ctx, c.Run.Path("images")); err != nil {
		return err
	}
	if err := cgroup.Make(c.Cgroup()); err != nil {
		return err
	}
	for _, n := range c.Nodes() {
		if err := cgroup.Make(n.Cgroup()); err != nil {
			return err
		}
	}
	return nil
}

// until repeats a kubectl command until it succeeds, as long as the first
// process of every node lives.
func (t *tool) until(ctx context.Context, c plan.Cluster, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		out, err := kubectl(ctx, c, args...)
		if err == nil {
			return nil
		}
		if err := stopped(c); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kubectl %s: %w: %s; last in the log: %s", args[0], ctx.Err(), out, lastLogs(c))
		case <-time.After(200 * time.Millisecond):
		}
	}
}
