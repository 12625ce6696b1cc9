package metrics

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/strongroom/strongroom/pkg/rotation"
)

// A provider that ended in good order took its socket along.
func TestProviderWithoutSocketIsDown(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	v, err := New(registry)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	err = v.Report(Sources{
		Report: func() rotation.Report {
			return rotation.Report{Answered: map[string]time.Time{"gone": now, "dead": now, "well": now}}
		},
		Bytes: func() int64 { return 0 },
		Up: func(context.Context) map[string]bool {
			return map[string]bool{"dead": false, "well": true, "new": true}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `
# HELP strongroom_provider_up Whether somebody answers at the socket of a provider that was called. One that answered once and has no socket any more is down.
# TYPE strongroom_provider_up gauge
strongroom_provider_up{provider="dead"} 0
strongroom_provider_up{provider="gone"} 0
strongroom_provider_up{provider="new"} 1
strongroom_provider_up{provider="well"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "strongroom_provider_up"); err != nil {
		t.Error(err)
	}
}

// Refreshes are counted under upstream's names and under ours.
func TestRefreshes(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	v, err := New(registry)
	if err != nil {
		t.Fatal(err)
	}
	refresh := rotation.Delivery{Trigger: rotation.OnInterval, Provider: "vault", Phase: rotation.Done, Took: time.Second}
	v.Delivered(refresh)
	refresh.Changed = true
	v.Delivered(refresh)
	refresh.Phase, refresh.Err = rotation.Fetching, errors.New("no")
	v.Delivered(refresh)
	want := `
# HELP rotation_reconcile_error_total Refreshes of mounted volumes that failed.
# TYPE rotation_reconcile_error_total counter
rotation_reconcile_error_total{error_type="GRPCProviderError",os_type="linux",otel_scope_name="sigs.k8s.io/secrets-store-csi-driver",provider="vault",rotated="true"} 1
# HELP rotation_reconcile_total Refreshes of mounted volumes that succeeded.
# TYPE rotation_reconcile_total counter
rotation_reconcile_total{os_type="linux",otel_scope_name="sigs.k8s.io/secrets-store-csi-driver",provider="vault",rotated="true"} 2
# HELP strongroom_refreshes_total Refreshes of mounted volumes: changed, unchanged, or the kind of their failure.
# TYPE strongroom_refreshes_total counter
strongroom_refreshes_total{provider="vault",result="Unknown"} 1
strongroom_refreshes_total{provider="vault",result="changed"} 1
strongroom_refreshes_total{provider="vault",result="unchanged"} 1
`
	err = testutil.GatherAndCompare(registry, strings.NewReader(want),
		"rotation_reconcile_total", "rotation_reconcile_error_total", "strongroom_refreshes_total")
	if err != nil {
		t.Error(err)
	}
	if n := testutil.CollectAndCount(v.refreshTook); n != 1 {
		t.Errorf("%d histograms of refreshes", n)
	}
}

// What programs in Go tell of themselves is there.
func TestProcess(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	if _, err := New(registry); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"go_goroutines", "process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"} {
		if n, err := testutil.GatherAndCount(registry, name); n != 1 || err != nil {
			t.Errorf("%s: %d, %v", name, n, err)
		}
	}
}
