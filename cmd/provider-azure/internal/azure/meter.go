package azure

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/status"

	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/provider"
)

// Who answers requests to Azure.
const (
	byVault = "keyvault"
	byLogin = "login"
)

// meter counts what the provider does with Azure. A nil one counts nothing.
type meter struct {
	// requests and calls have the names and labels of the existing provider.
	requests *prometheus.HistogramVec
	calls    *prometheus.HistogramVec
	// legacy texts are labels of both; nil drops them.
	requestTexts *texts
	callTexts    *texts

	tokens    *prometheus.CounterVec
	tokenTook *prometheus.HistogramVec
	throttled *prometheus.CounterVec
	coalesced prometheus.Counter
	stale     prometheus.Counter
	sessions  prometheus.Collector
}

func newMeter(legacy bool, sessions func() int) *meter {
	const prefix = "strongroom_azure_"
	m := &meter{
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "token_requests_total",
			Help: "Requests for access tokens by identity mode and result: OK or a kind of error. Tokens that are still good cost none.",
		}, []string{"mode", "result"}),
		tokenTook: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: prefix + "token_request_duration_seconds", Help: "Time of requests for access tokens, their retries included.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9), // 1 ms to 65 s
		}, []string{"mode"}),
		throttled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: prefix + "throttled_total",
			Help: "Answers of Azure with status 429, by who gave them: keyvault or login. Most are tried again, so they need not be errors.",
		}, []string{"by"}),
		coalesced: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "coalesced_reads_total", Help: "Reads that were answered by one that another volume of the identity had begun.",
		}),
		stale: prometheus.NewCounter(prometheus.CounterOpts{
			Name: prefix + "stale_reads_total", Help: "Reads that were answered from memory since Key Vault did not answer (staleIfError).",
		}),
		sessions: prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: prefix + "sessions", Help: "Identities that are known."},
			func() float64 { return float64(sessions()) }),
	}
	for _, by := range []string{byVault, byLogin} { // so that an alert sees the first one
		m.throttled.WithLabelValues(by)
	}
	requestLabels, callLabels := []string{"object_type", "error"}, []string{"grpc_method", "grpc_code"}
	if legacy {
		requestLabels, callLabels = append(requestLabels, "object_name"), append(callLabels, "grpc_message")
		m.requestTexts, m.callTexts = newTexts(), newTexts()
	}
	m.requests = legacyHistogram("keyvault_request",
		"Seconds that reads of objects and lists of versions took at Key Vault, retries included; error is empty or a kind of error.", requestLabels)
	m.calls = legacyHistogram("grpc_request", "Seconds that gRPC calls at the provider's socket took.", callLabels)
	return m
}

// legacyHistogram is one of the existing provider's. (azure-contract 10.2-10.4)
func legacyHistogram(name, help string, labels []string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help,
		ConstLabels: prometheus.Labels{"os_type": runtime.GOOS, "provider": "azure", "service_name": "csi-secrets-store-provider-azure"},
		Buckets:     []float64{0.1, 0.2, 0.3, 0.4, 0.5, 1, 1.5, 2, 2.5, 3, 5, 10, 15, 30},
	}, labels)
}

// request counts one that was made to Key Vault: a read of an object, or a list of its
// versions.
func (m *meter) request(kind, name string, took time.Duration, err error) {
	if m == nil {
		return
	}
	labels := []string{kind, ""}
	if err != nil {
		labels[1] = provider.KindOf(err).String()
	}
	if m.requestTexts != nil {
		labels = append(labels, short(name))
		if err != nil {
			labels[1] = stable(err.Error())
		}
		if !m.requestTexts.admit(labels) {
			labels[1], labels[2] = "", ""
			if err != nil {
				labels[1] = provider.KindOf(err).String()
			}
		}
	}
	m.requests.WithLabelValues(labels...).Observe(took.Seconds())
}

// called counts a gRPC call.
func (m *meter) called(method string, took time.Duration, err error) {
	result := status.Convert(err)
	labels := []string{method, result.Code().String()}
	if m.callTexts != nil {
		labels = append(labels, stable(result.Message()))
		if !m.callTexts.admit(labels) {
			labels[2] = ""
		}
	}
	m.calls.WithLabelValues(labels...).Observe(took.Seconds())
}

// token counts a request for an access token.
func (m *meter) token(mode azureclass.Mode, took time.Duration, err error) {
	if m == nil {
		return
	}
	result := "OK"
	if err != nil {
		result = provider.KindOf(err).String()
	}
	m.tokens.WithLabelValues(string(mode), result).Inc()
	m.tokenTook.WithLabelValues(string(mode)).Observe(took.Seconds())
}

// answered counts the answers by which somebody asks for fewer requests.
func (m *meter) answered(by string, status int) {
	if status == http.StatusTooManyRequests {
		m.throttled.WithLabelValues(by).Inc()
	}
}

func (m *meter) all() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.calls, m.tokens, m.tokenTook, m.throttled, m.coalesced, m.stale, m.sessions}
}

var (
	_ prometheus.Collector = (*Provider)(nil)
	_ provider.Observer    = (*Provider)(nil)
)

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

// Called implements [provider.Observer].
func (p *Provider) Called(method string, took time.Duration, err error) {
	p.meter.called(method, took, err)
}

func (p *Provider) countSessions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sessions)
}
