package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"time"

	v1 "github.com/strongroom/strongroom/api/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// refreshed are the figures of refreshes.
type refreshed struct {
	same, changed        forced
	republish            sample
	askedPerRepublish    float64
	requestsPerRepublish perCall
}

// forced is one refresh of all volumes at once.
type forced struct {
	rate     float64 // from the first call of the provider to the last
	mean     float64 // milliseconds of one refresh
	requests perCall
}

// refreshes has all volumes refreshed by the annotation of the class: with nothing new,
// then with new content. Then it republishes, when the interval of all is over.
func (b *bench) refreshes(ctx context.Context, f *figures) error {
	err := b.with(ctx, func(d *stand.Driver) (err error) {
		var c calls
		if _, err = b.publishCounted(ctx, d, 16, &c); err != nil {
			return err
		}
		if f.refresh.same, err = b.force(ctx, "same"); err != nil {
			return err
		}
		if _, err = b.provider.Tell(ctx, http.MethodPost, "/rotation?rotated=true"); err != nil {
			return err
		}
		if f.refresh.changed, err = b.force(ctx, "changed"); err != nil {
			return err
		}
		_, err = b.unpublish(ctx, d, 16)
		return err
	}, "--enable-secret-rotation=true", "--rotation-poll-interval=2m")
	if err != nil {
		return err
	}
	if _, err = b.provider.Tell(ctx, http.MethodPost, "/rotation?rotated=false"); err != nil {
		return err
	}
	return b.with(ctx, func(d *stand.Driver) error {
		if _, err := b.publish(ctx, d, 16); err != nil {
			return err
		}
		calls, err := b.provider.Calls(ctx)
		if err != nil {
			return err
		}
		if err = b.untilCalls(ctx, calls+b.volumes); err != nil {
			return err
		}
		var c callsOfRound
		if c.sample, err = b.republishCounted(ctx, d, 16, &c.calls); err != nil {
			return err
		}
		f.refresh.republish, f.refresh.askedPerRepublish = c.sample, c.askedPerRepublish
		f.refresh.requestsPerRepublish = c.requestsPerRepublish
		_, err = b.unpublish(ctx, d, 16)
		return err
	}, "--enable-secret-rotation=true", "--rotation-poll-interval=10s")
}

type callsOfRound struct {
	calls

	sample sample
}

func (b *bench) force(ctx context.Context, value string) (forced, error) {
	var f forced
	before, err := b.requests(ctx)
	if err != nil {
		return f, err
	}
	asked, err := b.provider.Calls(ctx)
	if err != nil {
		return f, err
	}
	sum, count, err := refreshSeconds(ctx)
	if err != nil {
		return f, err
	}
	class := &v1.SecretProviderClass{}
	if err = b.cluster.API.Get(ctx, client.ObjectKey{Namespace: namespace, Name: className}, class); err != nil {
		return f, err
	}
	class.Annotations = map[string]string{v1.RefreshAnnotation: value}
	if err = b.cluster.API.Update(ctx, class); err != nil {
		return f, fmt.Errorf("annotate the class: %w", err)
	}
	if err = b.untilCalls(ctx, asked+b.volumes); err != nil {
		return f, err
	}
	if f.rate, err = b.callRate(ctx); err != nil {
		return f, err
	}
	if err = b.untilQuiet(ctx); err != nil {
		return f, err
	}
	sumAfter, countAfter, err := refreshSeconds(ctx)
	if err != nil {
		return f, err
	}
	f.mean = (sumAfter - sum) / (countAfter - count) * 1000
	after, err := b.requests(ctx)
	f.requests = after.since(before, b.volumes)
	return f, err
}

// untilCalls waits until the provider had that many calls.
func (b *bench) untilCalls(ctx context.Context, want int) error {
	return poll(ctx, func() (bool, error) {
		n, err := b.provider.Calls(ctx)
		return n >= want, err
	})
}

// untilQuiet waits until nothing is to be recorded any more.
func (b *bench) untilQuiet(ctx context.Context) error {
	waiting := regexp.MustCompile(`(?m)^strongroom_(volumes\{state="unrecorded"\}|refreshes_in_flight) [1-9]`)
	return poll(ctx, func() (bool, error) {
		page, err := stand.Page(ctx, "GET", "http://"+metricsAddr+"/metrics")
		return !waiting.MatchString(page), err
	})
}

func poll(ctx context.Context, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		ok, err := done()
		if ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// callRate is that of as many calls as there are volumes, the last ones.
func (b *bench) callRate(ctx context.Context) (float64, error) {
	text, err := b.provider.Tell(ctx, http.MethodGet, "/log")
	if err != nil {
		return 0, err
	}
	var log []struct {
		Time time.Time `json:"time"`
	}
	if err = json.Unmarshal([]byte(text), &log); err != nil {
		return 0, fmt.Errorf("read the provider's log of calls: %w", err)
	}
	if len(log) < b.volumes {
		return 0, fmt.Errorf("the provider's log has %d calls", len(log))
	}
	took := log[len(log)-1].Time.Sub(log[len(log)-b.volumes].Time)
	return float64(b.volumes-1) / took.Seconds(), nil
}

// refreshSeconds is what the driver says of all refreshes so far.
func refreshSeconds(ctx context.Context) (sum, count float64, err error) {
	page, err := stand.Page(ctx, "GET", "http://"+metricsAddr+"/metrics")
	if err != nil {
		return 0, 0, err
	}
	for name, into := range map[string]*float64{"sum": &sum, "count": &count} {
		m := regexp.MustCompile(`(?m)^rotation_reconcile_duration_sec_` + name + `\{[^}]*\} (\S+)$`).FindStringSubmatch(page)
		if m == nil {
			return 0, 0, fmt.Errorf("the driver has no metric rotation_reconcile_duration_sec_%s", name)
		}
		if *into, err = strconv.ParseFloat(m[1], 64); err != nil {
			return 0, 0, err
		}
	}
	return sum, count, nil
}
