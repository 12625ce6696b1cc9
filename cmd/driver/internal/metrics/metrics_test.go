package metrics

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/strongroom/strongroom/pkg/rotation"
)

// The names and labels of driver-contract 7.
func TestNamesAndLabels(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	v, err := New(registry)
	if err != nil {
		t.Fatal(err)
	}
	v.Delivered(rotation.Delivery{Trigger: rotation.OnMount})
	v.Delivered(rotation.Delivery{Trigger: rotation.OnMount, Provider: "vault", Took: time.Second})
	for _, phase := range []rotation.Phase{rotation.Looking, rotation.Classing, rotation.Fetching, rotation.Writing} {
		v.Delivered(rotation.Delivery{Trigger: rotation.OnMount, Provider: "vault", Phase: phase, Took: time.Second, Err: errors.New("no")})
	}
	v.Delivered(rotation.Delivery{Trigger: rotation.OnInterval, Provider: "vault", Served: true})
	v.Unpublished(nil)
	v.Unpublished(errors.New("no"))
	v.Rejected("NodePublishVolume")
	v.Rejected("NodeUnpublishVolume")
	want := `
# HELP node_publish_error_total Publish calls that failed.
# TYPE node_publish_error_total counter
node_publish_error_total{error_type="FailedToMount",os_type="linux",otel_scope_name="sigs.k8s.io/secrets-store-csi-driver",provider=""} 1
node_publish_error_total{error_type="FailedToMount",os_type="linux",otel_scope_name="sigs.k8s.io/secrets-store-csi-driver",provider="vault"} 1
node_publish_error_total{error_type="FileWriteError",os_type="linux",otel_scope_name="sigs.k8s.io/secrets-store-csi-driver",provider="vault"} 1
node_publish_error_total{error_type="GRPCProviderError",os_type="linux",otel_scope_name="sigs.k8s.io/secrets-store-csi-driver",provider="vault"} 1
node_publish_error_total{error_type="SecretProviderClassNotFound",os_type="linux",otel_scope_name="sigs.k8s.io/secrets-store-csi-driver",provider="vault"} 1
# HELP node_publish_total Publish calls answered with OK, repeats included.
# TYPE node_publish_total counter
node_publish_total{os_type="linux",otel_scope_name="sigs.k8s.io/secrets-store-csi-driver",provider=""} 1
node_publish_total{os_type="linux",otel_scope_name="sigs.k8s.io/secrets-store-csi-driver",provider="vault"} 1
# HELP node_unpublish_error_total Unmounts that failed.
# TYPE node_unpublish_error_total counter
node_unpublish_error_total{os_type="linux",otel_scope_name="sigs.k8s.io/secrets-store-csi-driver"} 2
# HELP node_unpublish_total Volumes unmounted.
# TYPE node_unpublish_total counter
node_unpublish_total{os_type="linux",otel_scope_name="sigs.k8s.io/secrets-store-csi-driver"} 1
# HELP strongroom_stale_answers_total Answers of a provider whose store did not answer: it served what it had.
# TYPE strongroom_stale_answers_total counter
strongroom_stale_answers_total{provider="vault"} 1
`
	err = testutil.GatherAndCompare(registry, strings.NewReader(want),
		"node_publish_total", "node_publish_error_total", "node_unpublish_total", "node_unpublish_error_total", "strongroom_stale_answers_total")
	if err != nil {
		t.Error(err)
	}
}
