package azure

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/provider"
)

// metricsOf is what a scrape sees.
func metricsOf(t *testing.T, c prometheus.Collector) string {
	t.Helper()
	registry := prometheus.NewRegistry()
	if err := registry.Register(c); err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	return w.Body.String()
}

func wantLines(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			t.Errorf("no line %s in\n%s", line, withoutBuckets(text))
		}
	}
}

func withoutBuckets(text string) string {
	return regexp.MustCompile(`(?m)^(#.*|.*_bucket.*)\n`).ReplaceAllString(text, "")
}

const fixed = `os_type="linux",provider="azure",service_name="csi-secrets-store-provider-azure"`

// Names, labels and buckets are those that dashboards know. (azure-contract 10.2-10.4)
func TestMetricsOfTheExistingProvider(t *testing.T) {
	t.Parallel()
	m := newMeter(false, func() int { return 3 })
	p := &Provider{meter: m}
	m.request("secret", "db", 150*time.Millisecond, nil)
	m.request("key", "sign", 40*time.Second, provider.Errorf(provider.Denied, "no"))
	p.Called("/v1alpha1.CSIDriverProvider/Mount", 2*time.Second, status.Error(codes.PermissionDenied, "vault shop"))
	p.Called("/v1alpha1.CSIDriverProvider/Version", time.Millisecond, nil)
	text := metricsOf(t, p)
	const mount = `grpc_request_bucket{grpc_code="PermissionDenied",grpc_method="/v1alpha1.CSIDriverProvider/Mount",` + fixed
	for n, le := range []string{"0.1", "0.2", "0.3", "0.4", "0.5", "1", "1.5", "2", "2.5", "3", "5", "10", "15", "30", "+Inf"} {
		count := 0
		if n > 0 {
			count = 1
		}
		wantLines(t, text, fmt.Sprintf(`keyvault_request_bucket{error="",object_type="secret",%s,le=%q} %d`, fixed, le, count))
	}
	wantLines(t, text,
		mount+`,le="1.5"} 0`, mount+`,le="2"} 1`,
		`keyvault_request_count{error="Denied",object_type="key",`+fixed+`} 1`,
		`keyvault_request_bucket{error="Denied",object_type="key",`+fixed+`,le="30"} 0`,
		`grpc_request_count{grpc_code="OK",grpc_method="/v1alpha1.CSIDriverProvider/Version",`+fixed+`} 1`,
		"strongroom_azure_sessions 3")
	if strings.Contains(text, "shop") || strings.Contains(text, "db") {
		t.Error("labels show names")
	}
}

func TestLegacyLabels(t *testing.T) {
	t.Parallel()
	m := newMeter(true, func() int { return 0 })
	trouble := func(id int, at string) error {
		return provider.Errorf(provider.Denied, "AADSTS7000215: Trace ID: 0f8fad5b-d9cd-469f-a165-%012d Timestamp: %s from 10.0.0.%d:%d in %dms", id, at, id, 1000+id, id)
	}
	for i := range 100 {
		err := trouble(i, fmt.Sprintf("2026-11-22 09:%02d:00Z", i%60))
		m.request("secret", "db", time.Second, err)
		m.called("/Mount", time.Second, status.Error(codes.PermissionDenied, err.Error()))
	}
	const text = "AADSTS7000215: Trace ID: * Timestamp: * from * in *"
	all := metricsOf(t, &Provider{meter: m})
	wantLines(t, all, `keyvault_request_count{error="`+text+`",object_name="db",object_type="secret",`+fixed+`} 100`,
		`grpc_request_count{grpc_code="PermissionDenied",grpc_message="`+text+`",grpc_method="/Mount",`+fixed+`} 100`)
	for i := range 2000 { // whatever users and Azure think of
		m.request("secret", fmt.Sprint("name", i, "-", strings.Repeat("n", i), "\xff"), time.Second, errors.New(strings.Repeat("x", i)))
		m.called("/Mount", time.Second, status.Error(codes.Unknown, fmt.Sprint("text ", i, strings.Repeat("y", i))))
	}
	all = metricsOf(t, &Provider{meter: m})
	for _, name := range []string{"keyvault_request", "grpc_request"} {
		series := regexp.MustCompile(`(?m)^`+name+`_count.*$`).FindAllString(all, -1)
		if len(series) < 100 || len(series) > maxSeries+2 {
			t.Errorf("%d series of %s", len(series), name)
		}
		for _, s := range series {
			if len(s) > 2*maxLabel+200 {
				t.Errorf("a series of %d bytes: %s", len(s), s)
			}
		}
	}
	wantLines(t, all, `keyvault_request_count{error="Unknown",object_name="",object_type="secret",`+fixed+`} 1501`)
}

// Requests that were made are counted, whoever had to wait for them.
func TestWhatIsCounted(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.put(t, "db", "v1")
	g.AddFault(cloud.Fault{Where: "vault", Name: "db", Times: 1, Status: http.StatusTooManyRequests, RetryAfter: "0"})
	var pods sync.WaitGroup
	for i := range 20 {
		req := g.asWorkload(t, ask(podOf(fmt.Sprint("u", i)), oneSecret))
		pods.Go(func() {
			if _, err := g.Mount(t.Context(), req); err != nil {
				t.Error(err)
			}
		})
	}
	pods.Wait()
	if _, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf("x"), `array: ["{objectName: none, objectType: key}"]`))); err == nil {
		t.Error("a key that does not exist")
	}
	wantLines(t, metricsOf(t, g.Provider),
		`keyvault_request_count{error="",object_type="secret",`+fixed+`} 1`,
		`keyvault_request_count{error="NotFound",object_type="key",`+fixed+`} 1`,
		`strongroom_azure_token_requests_total{mode="WorkloadIdentity",result="OK"} 1`,
		`strongroom_azure_token_requests_total{mode="ServicePrincipal",result="OK"} 1`,
		`strongroom_azure_token_request_duration_seconds_count{mode="WorkloadIdentity"} 1`,
		`strongroom_azure_throttled_total{by="keyvault"} 1`, `strongroom_azure_throttled_total{by="login"} 0`,
		"strongroom_azure_coalesced_reads_total 19", "strongroom_azure_stale_reads_total 0", "strongroom_azure_sessions 2")
}

// All who wait for one request that fails are told why.
func TestErrorsAreForEverybody(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fault cloud.Fault
		want  string
		kind  provider.Kind
	}{
		"login": {cloud.Fault{Where: "authority", Status: http.StatusUnauthorized, Code: "invalid_client", Message: "AADSTS7000215: wrong"}, "AADSTS7000215", provider.Denied},
		"vault": {cloud.Fault{Where: "vault", Status: http.StatusForbidden, Code: "Forbidden", Inner: "ForbiddenByRbac", Message: "no", Skip: 1}, "ForbiddenByRbac", provider.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGround(t)
			g.put(t, "db", "v1")
			tc.fault.Millis = 200
			g.AddFault(tc.fault)
			var pods sync.WaitGroup
			for i := range 20 {
				req := g.asWorkload(t, ask(podOf(fmt.Sprint("u", i)), oneSecret))
				pods.Go(func() {
					_, err := g.Mount(context.WithoutCancel(t.Context()), req)
					if provider.KindOf(err) != tc.kind || !strings.Contains(fmt.Sprint(err), tc.want) {
						t.Errorf("%v: %v", provider.KindOf(err), err)
					}
				})
			}
			pods.Wait()
			if name == "login" {
				text := metricsOf(t, g.Provider)
				if !strings.Contains(text, `strongroom_azure_token_requests_total{mode="WorkloadIdentity",result="Denied"}`) {
					t.Errorf("refused logins are not counted:\n%s", withoutBuckets(text))
				}
			}
		})
	}
}
