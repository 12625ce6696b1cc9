package vault

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strongroom/strongroom/provider"
)

// operation is what a request to Vault is for.
type operation string

const (
	opLogin       operation = "login"
	opRead        operation = "read"
	opLookup      operation = "lookup_token"
	opRenewToken  operation = "renew_token"
	opRenewLease  operation = "renew_lease"
	opRevokeToken operation = "revoke_token"
	opRevokeLease operation = "revoke_lease"
)

// meter counts what the provider does with Vault.
type meter struct {
	requests  *prometheus.CounterVec
	took      *prometheus.HistogramVec
	coalesced prometheus.Counter
	stale     prometheus.Counter
	gauges    []prometheus.Collector
}

func newMeter(p *Provider) *meter {
	const prefix = "strongroom_vault_"
	gauge := func(name, help string, count func() int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + name, Help: help}, func() float64 { return float64(count()) })
	}
	return &meter{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "requests_total", Help: "Requests to Vault by operation and result: OK or a kind of error.",
		}, []string{"operation", "result"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "request_duration_seconds", Help: "Time of requests to Vault, their retries included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9), // 1 ms to 65 s
		}, []string{"operation"}),
		coalesced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "coalesced_reads_total", Help: "Reads that were answered by one that another volume had begun.",
		}),
		stale: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "stale_reads_total", Help: "Reads that were answered from memory since Vault did not answer (staleIfError).",
		}),
		gauges: []prometheus.Collector{
			gauge("sessions", "Identities that are known.", p.countSessions),
			gauge("leases", "Leases of mounted volumes.", p.countLeases),
		},
	}
}

func (m *meter) requested(op operation, took time.Duration, err error) {
	result := "OK"
	if err != nil {
		result = provider.KindOf(err).String()
	}
	m.requests.WithLabelValues(string(op), result).Inc()
	m.took.WithLabelValues(string(op)).Observe(took.Seconds())
}

func (m *meter) all() []prometheus.Collector {
	return append([]prometheus.Collector{m.requests, m.took, m.coalesced, m.stale}, m.gauges...)
}

var _ prometheus.Collector = (*Provider)(nil)

// Describe implements [prometheus.Collector].
func (p *Provider) Describe(to chan<- *prometheus.Desc) {
	for _, c := range p.meter.all() {
		c.Describe(to)
	}
}

// Collect implements [prometheus.Collector].
func (p *Provider) Collect(to chan<- prometheus.Metric) {
	for _, c := range p.meter.all() {
		c.Collect(to)
	}
}
