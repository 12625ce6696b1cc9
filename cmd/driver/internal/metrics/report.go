package metrics

import (
	"context"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strongroom/strongroom/pkg/rotation"
)

// upTimeout bounds how long a scrape waits for providers.
const upTimeout = time.Second

// Sources is what is reported when it is asked for.
type Sources struct {
	// Report tells of the volumes, Bytes how much memory their content takes.
	Report func() rotation.Report
	Bytes  func() int64
	// Up says of each provider that was called and has a socket whether somebody answers
	// there.
	Up func(context.Context) map[string]bool
}

// Report registers metrics that are read at each scrape. Their labels go with the
// volumes that they are about.
func (v *Volumes) Report(s Sources) error {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("strongroom_"+name, help, labels, nil)
	}
	return v.registry.Register(&report{
		volumes: v, sources: s,
		states: describe("volumes", "Volumes on this node by state; one can be in several. Unclaimed: mounted by an earlier process and not announced by "+
			"kubelet since. Unrecorded: the status is still to be written. Outdated: mounted from an older state of the class. Failing: the last "+
			"refresh failed. Stale: not refreshed for two intervals. Tokenless: due, and its tokens have expired. Unsynced: a Secret could not be filled.", "state"),
		oldest:    describe("volumes_oldest_seconds", "Age of the oldest content of volumes in a state.", "state"),
		bytes:     describe("volume_bytes", "Memory that the content of all volumes on this node takes."),
		lag:       describe("schedule_lag_seconds", "How long the refresh that is most overdue has waited to be started."),
		inFlight:  describe("refreshes_in_flight", "Refreshes that were started and have not ended."),
		filling:   describe("secrets_waiting", "Volumes whose Kubernetes Secrets are still to be filled."),
		age:       describe("provider_success_age_seconds", "Time since a provider answered last.", "provider"),
		reachable: describe("provider_up", "Whether somebody answers at the socket of a provider that was called. One that answered once and has no socket any more is down.", "provider"),
		expiry:    describe("earliest_expiry_timestamp_seconds", "When the first content of a class ends at its store.", "namespace", "class"),
	})
}

type report struct {
	volumes *Volumes
	sources Sources

	states, oldest, bytes, lag, inFlight, filling, age, reachable, expiry *prometheus.Desc
}

// Describe implements [prometheus.Collector].
func (r *report) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{r.states, r.oldest, r.bytes, r.lag, r.inFlight, r.filling, r.age, r.reachable, r.expiry} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (r *report) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	now := r.sources.Report()
	for _, state := range rotation.States() {
		gauge(r.states, float64(now.States[state].Count), string(state))
		gauge(r.oldest, now.States[state].Oldest.Seconds(), string(state))
	}
	gauge(r.bytes, float64(r.sources.Bytes()))
	gauge(r.lag, now.Lag.Seconds())
	gauge(r.inFlight, float64(now.Refreshing))
	gauge(r.filling, float64(now.Filling))
	for name, at := range now.Answered {
		if r.volumes.known(name) == name {
			gauge(r.age, time.Since(at).Seconds(), name)
		}
	}
	for class, at := range now.Expiries {
		gauge(r.expiry, float64(at.Unix()), class.Namespace, class.Name)
	}
	for name, up := range r.up(now) {
		if r.volumes.known(name) != name {
			continue
		}
		value := 0.0
		if up {
			value = 1
		}
		gauge(r.reachable, value, name)
	}
}

// up tells of the providers that were called. One that ended in good order took its
// socket along, and is down all the same.
func (r *report) up(now rotation.Report) map[string]bool {
	ctx, cancel := context.WithTimeout(context.Background(), upTimeout)
	defer cancel()
	up := maps.Clone(r.sources.Up(ctx))
	if up == nil {
		up = map[string]bool{}
	}
	for name := range now.Answered {
		if _, ok := up[name]; !ok {
			up[name] = false
		}
	}
	return up
}
