package metrics

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// Labels that are the same on every series of the upstream driver.
const (
	scopeLabel = "otel_scope_name"
	scope      = "sigs.k8s.io/secrets-store-csi-driver"
)

// Volumes counts publishes and unpublishes.
type Volumes struct {
	published     *prometheus.CounterVec
	publishErrors *prometheus.CounterVec
	unpublished   prometheus.Counter
	unpublishErrs prometheus.Counter
	took          *prometheus.HistogramVec
}

var _ rotation.Meter = (*Volumes)(nil)

// New registers the metrics.
func New(registry prometheus.Registerer) (*Volumes, error) {
	constant := prometheus.Labels{"os_type": runtime.GOOS, scopeLabel: scope}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: constant}, labels)
	}
	unpublished := counter("node_unpublish_total", "Volumes unmounted.")
	unpublishErrs := counter("node_unpublish_error_total", "Unmounts that failed.")
	v := &Volumes{
		published:     counter("node_publish_total", "Publish calls answered with OK, repeats included.", "provider"),
		publishErrors: counter("node_publish_error_total", "Publish calls that failed.", "provider", "error_type"),
		unpublished:   unpublished.WithLabelValues(),
		unpublishErrs: unpublishErrs.WithLabelValues(),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "strongroom_publish_duration_seconds", Help: "Time of first publishes, by the kind of their result.",
			Buckets: prometheus.ExponentialBuckets(0.001, 3, 11), // 1 ms to 59 s
		}, []string{"provider", "kind"}),
	}
	for _, c := range []prometheus.Collector{v.published, v.publishErrors, unpublished, unpublishErrs, v.took} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// Published implements [rotation.Meter].
func (v *Volumes) Published(name string, phase rotation.Phase, took time.Duration, err error) {
	kind := "OK"
	if err != nil {
		kind = provider.KindOf(err).String()
		v.publishErrors.WithLabelValues(name, errorType(phase)).Inc()
	} else {
		v.published.WithLabelValues(name).Inc()
	}
	if name != "" {
		v.took.WithLabelValues(name, kind).Observe(took.Seconds())
	}
}

// Unpublished implements [rotation.Meter].
func (v *Volumes) Unpublished(err error) {
	if err != nil {
		v.unpublishErrs.Inc()
		return
	}
	v.unpublished.Inc()
}

// Rejected counts a call that was refused for what it said.
func (v *Volumes) Rejected(method string) {
	if method == "NodeUnpublishVolume" {
		v.unpublishErrs.Inc()
		return
	}
	v.publishErrors.WithLabelValues("", errorType(rotation.Looking)).Inc()
}

// errorType is upstream's word for the phase that failed.
func errorType(phase rotation.Phase) string {
	switch phase {
	case rotation.Classing:
		return "SecretProviderClassNotFound"
	case rotation.Fetching:
		return "GRPCProviderError"
	case rotation.Writing:
		return "FileWriteError"
	case rotation.Looking, rotation.Done:
	}
	return "FailedToMount"
}
