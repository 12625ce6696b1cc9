package main

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// load is what so many volumes of one class cost.
type load struct {
	volumes int
	publish spent
	hold    spent // some intervals, with one republish of each volume
	took    sample
	rss     [2]int // KiB of driver and provider, at the end
}

// spent is what was used meanwhile.
type spent struct {
	driver, provider time.Duration // of a processor
	api              perCall       // requests to the API server, all of them
	each             string        // of these, by what they were for
	calls            float64       // of the provider, by the driver
	tokens, reads    int           // that the store was asked for
	throttled        int           // of the reads, and of requests without a token
}

func (u *spent) count(azure *cloud.Cloud) {
	c := azure.Counters()
	u.tokens, u.reads, u.throttled = c.Tokens[azureClient], c.Count(cloud.Read{Op: "get"}), c.Throttled["bench"]
}

// providerCalls is how often the driver has called a provider.
func providerCalls(ctx context.Context) (float64, error) {
	page, err := stand.Page(ctx, "GET", "http://"+metricsAddr+"/metrics")
	return total(page, "strongroom_provider_call_duration_seconds_count"), err
}

func (s *scaling) loads(ctx context.Context) ([]load, error) {
	var all []load
	for _, n := range s.steps() {
		l, err := s.load(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("%d volumes: %w", n, err)
		}
		all = append(all, l)
	}
	return all, nil
}

func (s *scaling) load(ctx context.Context, n int) (load, error) {
	l, volumes := load{volumes: n}, s.shared[:n]
	err := s.withAzure(ctx, scaleInterval, func(r running) (err error) {
		if l.publish, err = s.spend(ctx, r, func() error { return s.publishRecorded(ctx, r, &l) }); err != nil {
			return err
		}
		if l.hold, err = s.spend(ctx, r, func() error { return hold(ctx, r.driver, volumes) }); err != nil {
			return err
		}
		if l.hold.each != "" {
			fmt.Fprintf(os.Stderr, "bench: %d volumes: API requests in the intervals: %s\n", n, l.hold.each)
		}
		if l.rss[0], err = r.driver.RSS(); err != nil {
			return err
		}
		if l.rss[1], err = r.provider.RSS(); err != nil {
			return err
		}
		if err = s.keepStatus(ctx); err != nil {
			return err
		}
		_, err = s.unpublishThese(ctx, r.driver, volumes, 16)
		return err
	})
	return l, err
}

// publishRecorded publishes, and waits until every volume has its status object.
func (s *scaling) publishRecorded(ctx context.Context, r running, l *load) error {
	volumes := s.shared[:l.volumes]
	for _, v := range volumes {
		if err := v.Prepare(); err != nil {
			return err
		}
	}
	recorded, err := s.records(ctx, len(volumes))
	if err != nil {
		return err
	}
	if l.took, err = s.publishThese(ctx, r.driver, volumes, 16); err != nil {
		return err
	}
	_, err = recorded()
	return err
}

// hold lets some intervals pass, and republishes each volume once.
func hold(ctx context.Context, d *stand.Driver, volumes []stand.Volume) error {
	begin := time.Now()
	if _, err := measure(ctx, len(volumes), 16, func(ctx context.Context, i int) error { return d.Publish(ctx, volumes[i]) }); err != nil {
		return fmt.Errorf("republish: %w", err)
	}
	return sleep(ctx, scaleIntervals*scaleInterval-time.Since(begin))
}

// spend says what is used while do runs.
func (s *scaling) spend(ctx context.Context, r running, do func() error) (u spent, err error) {
	api, err := s.requests(ctx)
	if err != nil {
		return u, err
	}
	driver, err := cpuTime(r.driver.Pid)
	if err != nil {
		return u, err
	}
	provider, err := cpuTime(r.provider.Pid)
	if err != nil {
		return u, err
	}
	calls, err := providerCalls(ctx)
	if err != nil {
		return u, err
	}
	s.cloud.ClearCounters()
	if err = do(); err != nil {
		return u, err
	}
	u.count(s.cloud)
	if u.driver, err = cpuTime(r.driver.Pid); err != nil {
		return u, err
	}
	if u.provider, err = cpuTime(r.provider.Pid); err != nil {
		return u, err
	}
	u.driver, u.provider = u.driver-driver, u.provider-provider
	if u.calls, err = providerCalls(ctx); err != nil {
		return u, err
	}
	u.calls -= calls
	after, err := s.requests(ctx)
	u.api, u.each = after.since(api, 1), after.each(api)
	return u, err
}

// keepStatus keeps a status object that the driver wrote, to make others like it.
func (s *scaling) keepStatus(ctx context.Context) error {
	if s.status != nil {
		return nil
	}
	var list v1.SecretProviderClassPodStatusList
	if err := s.cluster.API.List(ctx, &list, client.InNamespace(namespace), client.Limit(1)); err != nil {
		return fmt.Errorf("read a status object: %w", err)
	}
	if len(list.Items) == 0 {
		return fmt.Errorf("there is no status object in namespace %s", namespace)
	}
	s.status = &list.Items[0]
	return nil
}

// coldStart is of pods that all come at once, with a driver and a provider that know nothing.
type coldStart struct {
	classes  int
	took     sample
	attempts int64
	spent
}

// coldStarts starts pods of one class, and then of many that have no secret in common.
func (s *scaling) coldStarts(ctx context.Context) error {
	many, err := s.waiting(ctx, coldPods, "cold")
	if err != nil {
		return err
	}
	for i := range many {
		many[i].Class = coldClass(i % coldClasses)
	}
	for _, pods := range []struct {
		classes int
		volumes []stand.Volume
	}{{1, s.shared[:coldPods]}, {coldClasses, many}} {
		if err := sleep(ctx, 2*time.Second); err != nil { // the store has forgotten who asked
			return err
		}
		c, err := s.coldStart(ctx, pods.volumes)
		if err != nil {
			return err
		}
		c.classes = pods.classes
		s.cold = append(s.cold, c)
	}
	return nil
}

func (s *scaling) coldStart(ctx context.Context, volumes []stand.Volume) (c coldStart, err error) {
	err = s.withAzure(ctx, coldInterval, func(r running) (err error) {
		if c.spent, err = s.spend(ctx, r, func() error { return s.allAtOnce(ctx, r.driver, volumes, &c) }); err != nil {
			return err
		}
		if err = s.expect(len(volumes)); err != nil {
			return err
		}
		_, err = s.unpublishThese(ctx, r.driver, volumes, 16)
		return err
	})
	return c, err
}

// allAtOnce publishes as kubelet does that has got all pods at once.
func (s *scaling) allAtOnce(ctx context.Context, d *stand.Driver, volumes []stand.Volume, c *coldStart) error {
	recorded, err := s.records(ctx, len(volumes))
	if err != nil {
		return err
	}
	var attempts atomic.Int64
	c.took, err = measure(ctx, len(volumes), len(volumes), func(ctx context.Context, i int) error {
		if failed := volumes[i].Prepare(); failed != nil {
			return failed
		}
		return patiently(ctx, func() error {
			attempts.Add(1)
			return d.Publish(ctx, volumes[i])
		})
	})
	c.attempts = attempts.Load()
	if err != nil {
		return err
	}
	_, err = recorded()
	return err
}

// patiently tries again as kubelet does: after half a second, and twice as long each time.
func patiently(ctx context.Context, try func() error) error {
	for wait := time.Second / 2; ; wait *= 2 {
		err := try()
		if err == nil || wait > time.Minute {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}
