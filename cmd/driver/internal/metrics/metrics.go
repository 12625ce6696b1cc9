package metrics

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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

// Volumes counts publishes and unpublishes.
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
	}
	for _, c := range []prometheus.Collector{v.published, v.publishErrors, unpublished, unpublishErrs, v.took} {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// Gauge registers what is counted when it is asked for.
func (v *Volumes) Gauge(count func() rotation.Count, bytes func() int64) error {
	state := func(name string, of func(rotation.Count) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "strongroom_volumes", ConstLabels: prometheus.Labels{"state": name},
			Help: "Volumes on this node. Unclaimed: mounted by an earlier process and not announced by kubelet since. " +
				"Unrecorded: their status is still to be written. Outdated: mounted from an older state of their class.",
		}, func() float64 { return float64(of(count())) })
	}
	for _, c := range []prometheus.Collector{
		state("mounted", func(c rotation.Count) int { return c.Mounted }),
		state("unclaimed", func(c rotation.Count) int { return c.Unclaimed }),
		state("unrecorded", func(c rotation.Count) int { return c.Unrecorded }),
		state("outdated", func(c rotation.Count) int { return c.Outdated }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "strongroom_volume_bytes", Help: "Memory that the content of all volumes on this node takes.",
		}, func() float64 { return float64(bytes()) }),
	} {
		if err := v.registry.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// Published implements [rotation.Meter].
func (v *Volumes) Published(name string, phase rotation.Phase, took time.Duration, err error) {
	name = v.known(name)
	kind := "OK"
	if err != nil {
		kind = provider.KindOf(err).String()
		v.publishErrors.WithLabelValues(name, v.errorType(phase, err)).Inc()
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

// phaseType is upstream's word for the phase that failed.
func phaseType(phase rotation.Phase) string {
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
