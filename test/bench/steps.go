package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	v1 "github.com/strongroom/strongroom/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/stand"
)

const (
	secretSize = 4 << 10
	settled    = 100 // KiB that resident memory may differ between two looks
)

// limit gets the class, and creates objects like those of the driver, with nothing
// else to do.
func (b *bench) limit(ctx context.Context, f *figures) error {
	key := client.ObjectKey{Namespace: namespace, Name: className}
	s, err := measure(ctx, b.volumes, 16, func(ctx context.Context, _ int) error {
		return b.cluster.API.Get(ctx, key, &v1.SecretProviderClass{})
	})
	if err != nil {
		return err
	}
	f.gets = s.rate()
	s, err = measure(ctx, b.volumes, 16, func(ctx context.Context, i int) error {
		return b.cluster.API.Create(ctx, &v1.SecretProviderClassPodStatus{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: fmt.Sprintf("limit-%d", i)},
			Status: v1.SecretProviderClassPodStatusStatus{
				PodName: fmt.Sprintf("limit-%d", i), SecretProviderClassName: className, Mounted: true,
				Objects: []v1.SecretProviderClassObject{{ID: "secret/foo", Version: "v1"}, {ID: "secret/fookey", Version: "v1"}},
			},
		})
	})
	if err != nil {
		return err
	}
	f.creates = s.rate()
	return b.cluster.API.DeleteAllOf(ctx, &v1.SecretProviderClassPodStatus{}, client.InNamespace(namespace))
}

func (b *bench) one(ctx context.Context, f *figures) (err error) {
	f.one, err = b.round(ctx, 1)
	return err
}

func (b *bench) sixteen(ctx context.Context, f *figures) (err error) {
	f.sixteen, err = b.round(ctx, 16)
	return err
}

// round measures calls with so many in flight.
func (b *bench) round(ctx context.Context, inFlight int) (calls, error) {
	var published, republished, unpublished []sample
	var c calls
	err := b.with(ctx, func(d *stand.Driver) error {
		for range b.rounds {
			p, err := b.publishCounted(ctx, d, inFlight, &c)
			if err != nil {
				return err
			}
			r, err := b.republishCounted(ctx, d, inFlight, &c)
			if err != nil {
				return err
			}
			u, err := b.unpublish(ctx, d, inFlight)
			if err != nil {
				return err
			}
			published, republished, unpublished = append(published, p), append(republished, r), append(unpublished, u)
		}
		return nil
	})
	if err != nil {
		return c, err
	}
	c.publish, c.republish, c.unpublish = median(published), median(republished), median(unpublished)
	return c, nil
}

func (b *bench) publishCounted(ctx context.Context, d *stand.Driver, inFlight int, c *calls) (sample, error) {
	before, err := b.requests(ctx)
	if err != nil {
		return sample{}, err
	}
	recorded, err := b.records(ctx, b.volumes)
	if err != nil {
		return sample{}, err
	}
	used, err := b.processors(d)
	if err != nil {
		return sample{}, err
	}
	s, err := b.publish(ctx, d, inFlight)
	if err != nil {
		return s, err
	}
	took, err := recorded()
	if err != nil {
		return s, err
	}
	later, err := b.processors(d)
	if err != nil {
		return s, err
	}
	c.cpuPerPublish = later.since(used, b.volumes)
	c.recorded = append(c.recorded, float64(b.volumes)/took.Seconds())
	after, err := b.requests(ctx)
	c.requestsPerPublish = after.since(before, b.volumes)
	return s, err
}

func (b *bench) republishCounted(ctx context.Context, d *stand.Driver, inFlight int, c *calls) (sample, error) {
	before, err := b.requests(ctx)
	if err != nil {
		return sample{}, err
	}
	asked, err := b.provider.Calls(ctx)
	if err != nil {
		return sample{}, err
	}
	used, err := b.processors(d)
	if err != nil {
		return sample{}, err
	}
	s, err := b.republish(ctx, d, inFlight)
	if err != nil {
		return s, err
	}
	later, err := b.processors(d)
	if err != nil {
		return s, err
	}
	c.cpuPerRepublish = later.since(used, len(s.took))
	again, err := b.provider.Calls(ctx)
	if err != nil {
		return s, err
	}
	c.askedPerRepublish = float64(again-asked) / float64(len(s.took))
	after, err := b.requests(ctx)
	c.requestsPerRepublish = after.since(before, len(s.took))
	return s, err
}

// queue publishes once more, while it looks at the driver's metrics all the time.
func (b *bench) queue(ctx context.Context, f *figures) error {
	gauge := regexp.MustCompile(`(?m)^(strongroom_\w+\{[^}]*state="unrecorded"[^}]*\}) ([0-9.e+]+)$`)
	return b.with(ctx, func(d *stand.Driver) error {
		looking, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for looking.Err() == nil {
				page, _ := stand.Page(looking, "GET", "http://"+metricsAddr+"/metrics")
				for _, m := range gauge.FindAllStringSubmatch(page, -1) {
					if n, err := strconv.ParseFloat(m[2], 64); err == nil && (f.queueName == "" || n > f.queuePeak) {
						f.queueName, f.queuePeak = m[1], n
					}
				}
			}
		}()
		var c calls
		_, err := b.publishCounted(ctx, d, 16, &c)
		stop()
		<-done
		if err != nil {
			return err
		}
		_, err = b.unpublish(ctx, d, 16)
		return err
	})
}

func (b *bench) memory(ctx context.Context, f *figures) (err error) {
	f.idle, f.loaded, err = b.resident(ctx)
	return err
}

// memoryBeside is the same with Secrets of others in the cluster, which carry the
// label that a driver selects by.
func (b *bench) memoryBeside(ctx context.Context, f *figures) error {
	const other = "others"
	if err := b.cluster.Namespace(ctx, other); err != nil {
		return err
	}
	value := []byte(strings.Repeat("s", secretSize))
	_, err := measure(ctx, b.secrets, 16, func(ctx context.Context, i int) error {
		return b.cluster.API.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: other, Name: fmt.Sprintf("secret-%d", i), Labels: map[string]string{"secrets-store.csi.k8s.io/managed": "true"},
			},
			Data: map[string][]byte{"value": value},
		})
	})
	if err != nil {
		return fmt.Errorf("create secrets: %w", err)
	}
	f.idleBeside, f.loadedBeside, err = b.resident(ctx)
	return err
}

// resident starts a fresh driver and returns its resident memory in KiB, before and
// after it published.
func (b *bench) resident(ctx context.Context) (idle, loaded int, err error) {
	err = b.with(ctx, func(d *stand.Driver) error {
		if idle, err = steady(ctx, d); err != nil {
			return err
		}
		var c calls
		if _, err = b.publishCounted(ctx, d, 16, &c); err != nil {
			return err
		}
		if loaded, err = steady(ctx, d); err != nil {
			return err
		}
		_, err = b.unpublish(ctx, d, 16)
		return err
	})
	return idle, loaded, err
}

// steady waits until the memory does not change any more, at most ten seconds.
func steady(ctx context.Context, d *stand.Driver) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	last := -1
	for {
		rss, err := d.RSS()
		if err != nil || max(rss-last, last-rss) <= settled {
			return rss, err
		}
		last = rss
		select {
		case <-ctx.Done():
			return last, nil
		case <-time.After(2 * time.Second):
		}
	}
}

// profiles writes what the driver does with its time and memory at 16 in flight.
func (b *bench) profiles(ctx context.Context, dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	const page = "http://127.0.0.1:6065/debug/pprof/"
	return b.with(ctx, func(d *stand.Driver) error {
		if err := b.profile(ctx, page+"profile?seconds=10", filepath.Join(dir, "publish.cpu"), func() error {
			if _, err := b.publish(ctx, d, 16); err != nil {
				return err
			}
			_, err := b.unpublish(ctx, d, 16)
			return err
		}); err != nil {
			return err
		}
		if _, err := b.publish(ctx, d, 16); err != nil {
			return err
		}
		if err := b.profile(ctx, page+"profile?seconds=10", filepath.Join(dir, "republish.cpu"), func() error {
			_, err := b.republish(ctx, d, 16)
			return err
		}); err != nil {
			return err
		}
		return b.profile(ctx, page+"heap?gc=1", filepath.Join(dir, "loaded.heap"), func() error { return nil })
	}, "--enable-pprof")
}

// profile repeats work until the profile is there.
func (b *bench) profile(ctx context.Context, url, file string, work func() error) error {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := stand.Page(ctx, "GET", url)
		done <- result{text, err}
	}()
	for {
		select {
		case r := <-done:
			if r.err != nil {
				return r.err
			}
			fmt.Fprintln(os.Stderr, "bench: wrote", file)
			return os.WriteFile(file, []byte(r.text), 0o600)
		default:
			if err := work(); err != nil {
				return err
			}
		}
	}
}
