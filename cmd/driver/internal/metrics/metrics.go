package metrics

import (
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// Labels that are the same on every series of the upstream driver.
const (
	scopeLabel = "otel_scope_name"
	scope      = "sigs.k8s.io/secrets-store-csi-driver"

	maxReason  = 40 // characters
	maxReasons = 20 // different ones
	maxNames   = 20 // different providers
)

// What is done to volumes, as a label.
const (
	mounting   = "mount"
	refreshing = "refresh"
	unmounting = "unmount"
)

// Volumes counts what is done to volumes.
type Volumes struct {
	registry      prometheus.Registerer
	mu            sync.Mutex
	reasons       map[string]bool // that providers gave
	names         map[string]bool // of providers
	published     *prometheus.CounterVec
	publishErrors *prometheus.CounterVec
	unpublished   prometheus.Counter
	unpublishErrs prometheus.Counter
	took          *prometheus.HistogramVec

	rotated       *prometheus.CounterVec
	rotateErrors  *prometheus.CounterVec
	rotateTook    prometheus.Histogram
	refreshed     *prometheus.CounterVec
	served        *prometheus.CounterVec
	refreshTook   *prometheus.HistogramVec
	synced        *prometheus.CounterVec
	syncTook      prometheus.Histogram
	refused       *prometheus.CounterVec
	failed        *prometheus.CounterVec
	calls         *prometheus.HistogramVec
	callsInFlight *prometheus.GaugeVec
	requests      *prometheus.CounterVec
}

var _ rotation.Meter = (*Volumes)(nil)

// New registers the metrics.
func New(registry prometheus.Registerer) (*Volumes, error) {
	constant := prometheus.Labels{"os_type": runtime.GOOS, scopeLabel: scope}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: constant}, labels)
	}
	const rotated = "rotated" // always true, as upstream's
	upstreamHistogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: name, Help: help, ConstLabels: constant, Buckets: prometheus.ExponentialBucketsRange(0.1, 2, 11),
		})
	}
	own := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	unpublished := counter("node_unpublish_total", "Volumes unmounted.")
	unpublishErrs := counter("node_unpublish_error_total", "Unmounts that failed.")
	v := &Volumes{
		registry:      registry,
		reasons:       map[string]bool{},
		names:         map[string]bool{},
		published:     counter("node_publish_total", "Publish calls answered with OK, repeats included.", "provider"),
		publishErrors: counter("node_publish_error_total", "Publish calls that failed.", "provider", "error_type"),
		unpublished:   unpublished.WithLabelValues(),
		unpublishErrs: unpublishErrs.WithLabelValues(),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "strongroom_publish_duration_seconds", Help: "Time of first publishes, by the kind of their result.",
			Buckets: prometheus.ExponentialBuckets(0.001, 3, 11), // 1 ms to 59 s
		}, []string{"provider", "kind"}),

		rotated:      counter("rotation_reconcile_total", "Refreshes of mounted volumes that succeeded.", "provider", rotated),
		rotateErrors: counter("rotation_reconcile_error_total", "Refreshes of mounted volumes that failed.", "provider", "error_type", rotated),
		rotateTook:   upstreamHistogram("rotation_reconcile_duration_sec", "Seconds that refreshes took which succeeded."),
		refreshed: own("strongroom_refreshes_total", "Refreshes of mounted volumes: changed, unchanged, or the kind of their failure.",
			"provider", "result"),
		refreshTook: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "strongroom_refresh_duration_seconds", Help: "Time of refreshes of mounted volumes, also of those that failed.",
			Buckets: prometheus.ExponentialBuckets(0.001, 3, 11), // 1 ms to 59 s
		}, []string{"provider"}),
		served:   own("strongroom_stale_answers_total", "Answers of a provider whose store did not answer: it served what it had.", "provider"),
		synced:   counter("sync_k8s_secret_total", "Kubernetes Secrets filled, or found as they should be.", "provider"),
		syncTook: upstreamHistogram("k8s_secret_duration_sec", "Seconds that it took to fill a Kubernetes Secret."),
		refused:  own("strongroom_secret_errors_total", "Kubernetes Secrets that could not be filled.", "provider", "reason"),
		failed: own("strongroom_errors_total", "Mounts, refreshes and unmounts that failed, by the reason that docs/troubleshooting.md explains.",
			"operation", "provider", "reason"),
		calls: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "strongroom_provider_call_duration_seconds", Help: "Calls of providers, by the kind of their result.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9), // 1 ms to 65 s
		}, []string{"provider", "kind"}),
		callsInFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "strongroom_provider_calls_in_flight", Help: "Calls of providers that have not been answered yet.",
		}, []string{"provider"}),
		requests: own("strongroom_api_requests_total", "Requests to the Kubernetes API server.", "verb", "resource", "code"),
	}
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		v.published, v.publishErrors, unpublished, unpublishErrs, v.took, v.rotated, v.rotateErrors, v.rotateTook, v.refreshed,
		provider.BuildCollector(), v.served, v.refreshTook, v.synced, v.syncTook, v.refused, v.failed, v.calls, v.callsInFlight, v.requests,
	} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (v *Volumes) refreshedOne(d rotation.Delivery) {
	name := v.known(d.Provider)
	v.refreshTook.WithLabelValues(name).Observe(d.Took.Seconds())
	switch {
	case d.Err != nil:
		v.rotateErrors.WithLabelValues(name, v.errorType(d.Phase, d.Err), "true").Inc()
		v.failed.WithLabelValues(refreshing, name, d.Reason.String()).Inc()
		v.refreshed.WithLabelValues(name, provider.KindOf(d.Err).String()).Inc()
		return
	case d.Changed:
		v.refreshed.WithLabelValues(name, "changed").Inc()
	default:
		v.refreshed.WithLabelValues(name, "unchanged").Inc()
	}
	v.rotated.WithLabelValues(name, "true").Inc()
	v.rotateTook.Observe(d.Took.Seconds())
}

// Filled implements [rotation.Meter].
func (v *Volumes) Filled(name string, took time.Duration, err error) {
	name = v.known(name)
	if err == nil {
		v.synced.WithLabelValues(name).Inc()
		v.syncTook.Observe(took.Seconds())
		return
	}
	v.refused.WithLabelValues(name, rotation.SecretReason(err).String()).Inc()
}

// countServed counts stale answers. A provider has the series from its first delivery on.
func (v *Volumes) countServed(d rotation.Delivery) {
	name := v.known(d.Provider)
	if name == "" {
		return
	}
	served := v.served.WithLabelValues(name)
	if d.Served {
		served.Inc()
	}
}

// Delivered implements [rotation.Meter].
func (v *Volumes) Delivered(d rotation.Delivery) {
	v.countServed(d)
	if d.Trigger != rotation.OnMount {
		v.refreshedOne(d)
		return
	}
	name, phase, took, err := v.known(d.Provider), d.Phase, d.Took, d.Err
	kind := "OK"
	if err != nil {
		kind = provider.KindOf(err).String()
		v.publishErrors.WithLabelValues(name, v.errorType(phase, err)).Inc()
		v.failed.WithLabelValues(mounting, name, d.Reason.String()).Inc()
	} else {
		v.published.WithLabelValues(name).Inc()
	}
	if name != "" {
		v.took.WithLabelValues(name, kind).Observe(took.Seconds())
	}
}

// known keeps the names of providers, which authors of classes choose, few.
func (v *Volumes) known(name string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if name == "" || v.names[name] {
		return name
	}
	if len(v.names) >= maxNames {
		return "other"
	}
	v.names[name] = true
	return name
}

// Unpublished implements [rotation.Meter].
func (v *Volumes) Unpublished(err error) {
	if err != nil {
		v.unpublishErrs.Inc()
		v.failed.WithLabelValues(unmounting, "", rotation.UnmountFailed.String()).Inc()
		return
	}
	v.unpublished.Inc()
}

// Rejected counts a call that was refused for what it said.
func (v *Volumes) Rejected(method string) {
	if method == "NodeUnpublishVolume" {
		v.unpublishErrs.Inc()
		v.failed.WithLabelValues(unmounting, "", rotation.VolumeInvalid.String()).Inc()
		return
	}
	v.failed.WithLabelValues(mounting, "", rotation.VolumeInvalid.String()).Inc()
	v.publishErrors.WithLabelValues("", phaseType(rotation.Looking)).Inc()
}

// errorType is the provider's own word for the cause, if it gave one, as long as
// those are few and short; else upstream's word for the phase.
func (v *Volumes) errorType(phase rotation.Phase, err error) string {
	e, ok := errors.AsType[*provider.Error](err)
	if !ok || e.Reason == "" || len(e.Reason) > maxReason {
		return phaseType(phase)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.reasons[e.Reason] && len(v.reasons) >= maxReasons {
		return phaseType(phase)
	}
	v.reasons[e.Reason] = true
	return e.Reason
}

// phaseType is upstream's word for the phase that failed, which is that of a reason for
// whatever has no better one.
func phaseType(phase rotation.Phase) string {
	switch phase {
	case rotation.Classing:
		return rotation.ClassNotFound.String()
	case rotation.Fetching:
		return rotation.ProviderFailed.String()
	case rotation.Writing:
		return rotation.WriteFailed.String()
	case rotation.Looking, rotation.Done:
	}
	return rotation.MountFailed.String()
}
