package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "github.com/strongroom/strongroom/api/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/stand"
)

const (
	namespace   = "bench"
	className   = "two-files"
	metricsAddr = "127.0.0.1:8095" // of a network namespace of our own
	republishes = 10               // of each volume
)

type bench struct {
	options

	cluster  *stand.Cluster
	binary   string
	node     stand.Node
	provider *stand.Provider
	vault    *vaultServer
	synced   int // rounds with a Secret so far
}

func newBench(ctx context.Context, o options) (*bench, error) {
	cluster, err := stand.Start(ctx, o.root)
	if err != nil {
		return nil, err
	}
	b := &bench{options: o, cluster: cluster}
	if err := b.furnish(ctx); err != nil {
		return nil, errors.Join(err, cluster.Stop())
	}
	return b, nil
}

func (b *bench) furnish(ctx context.Context) (err error) {
	if b.binary, err = stand.Released(b.driver); err != nil {
		return err
	}
	if b.node, err = b.cluster.NewNode("bench"); err != nil {
		return err
	}
	if err = b.cluster.Namespace(ctx, namespace); err != nil {
		return err
	}
	key := client.ObjectKey{Namespace: namespace, Name: className}
	if err = b.cluster.Class(ctx, key, stand.ScriptedName, "foo", "fookey"); err != nil {
		return err
	}
	b.provider, err = stand.StartProvider(ctx, b.options.provider, b.node)
	return err
}

func (b *bench) start(ctx context.Context, flags ...string) (*stand.Driver, error) {
	return stand.StartDriver(ctx, stand.DriverConfig{
		Binary: b.binary, Node: b.node, Flags: append(flags, b.flags...), MetricsAddr: metricsAddr,
	})
}

// with starts a driver for as long as do runs.
func (b *bench) with(ctx context.Context, do func(*stand.Driver) error, flags ...string) error {
	d, err := b.start(ctx, flags...)
	if err != nil {
		return err
	}
	return errors.Join(do(d), d.Close(), d.Stop())
}

// prepared returns the volumes of as many pods.
func (b *bench) prepared() ([]stand.Volume, error) {
	volumes := make([]stand.Volume, b.volumes)
	for i := range volumes {
		volumes[i] = stand.Volume{Node: b.node, Namespace: namespace, Pod: fmt.Sprintf("pod-%d", i), Class: className}
		if err := volumes[i].Prepare(); err != nil {
			return nil, err
		}
	}
	return volumes, nil
}

// publish publishes all volumes and sees that they are mounted.
func (b *bench) publish(ctx context.Context, d *stand.Driver, inFlight int) (sample, error) {
	volumes, err := b.prepared()
	if err != nil {
		return sample{}, err
	}
	return b.publishThese(ctx, d, volumes, inFlight)
}

func (b *bench) publishThese(ctx context.Context, d *stand.Driver, volumes []stand.Volume, inFlight int) (sample, error) {
	s, err := measure(ctx, len(volumes), inFlight, func(ctx context.Context, i int) error { return d.Publish(ctx, volumes[i]) })
	if err != nil {
		return s, fmt.Errorf("publish: %w", err)
	}
	return s, b.expect(len(volumes))
}

func (b *bench) republish(ctx context.Context, d *stand.Driver, inFlight int) (sample, error) {
	volumes, err := b.prepared()
	if err != nil {
		return sample{}, err
	}
	return measure(ctx, republishes*len(volumes), inFlight, func(ctx context.Context, i int) error {
		return d.Publish(ctx, volumes[i%len(volumes)])
	})
}

func (b *bench) unpublish(ctx context.Context, d *stand.Driver, inFlight int) (sample, error) {
	volumes, err := b.prepared()
	if err != nil {
		return sample{}, err
	}
	return b.unpublishThese(ctx, d, volumes, inFlight)
}

func (b *bench) unpublishThese(ctx context.Context, d *stand.Driver, volumes []stand.Volume, inFlight int) (sample, error) {
	s, err := measure(ctx, len(volumes), inFlight, func(ctx context.Context, i int) error { return d.Unpublish(ctx, volumes[i]) })
	if err != nil {
		return s, fmt.Errorf("unpublish: %w", err)
	}
	for _, v := range volumes {
		if err = v.Forget(); err != nil {
			return s, err
		}
	}
	err = b.cluster.API.DeleteAllOf(ctx, &v1.SecretProviderClassPodStatus{}, client.InNamespace(namespace))
	return s, errors.Join(err, b.expect(0))
}

// expect counts the mounts: a rate of calls that do nothing is none.
func (b *bench) expect(want int) error {
	mounts, err := b.node.Mounts()
	if err == nil && len(mounts) != want {
		err = fmt.Errorf("%d volumes are mounted, want %d", len(mounts), want)
	}
	return err
}

// records starts to watch status objects; the function that it returns waits until
// there are n, and says how long that took since the start.
func (b *bench) records(ctx context.Context, n int) (func() (time.Duration, error), error) {
	w, err := b.cluster.API.Watch(ctx, &v1.SecretProviderClassPodStatusList{}, client.InNamespace(namespace))
	if err != nil {
		return nil, fmt.Errorf("watch status objects: %w", err)
	}
	done := make(chan time.Time, 1)
	go func() {
		defer close(done)
		seen := 0
		for event := range w.ResultChan() {
			if event.Type != watch.Added {
				continue
			}
			if seen++; seen == n {
				done <- time.Now()
				return
			}
		}
	}()
	begin := time.Now()
	return func() (time.Duration, error) {
		defer w.Stop()
		select {
		case end, ok := <-done:
			if !ok {
				return 0, errors.New("the watch of status objects ended")
			}
			return end.Sub(begin), nil
		case <-time.After(time.Minute):
			return 0, errors.New("not every volume has a status object after a minute")
		}
	}, nil
}
