package cloud_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
)

func status(t *testing.T, c *cloud.Cloud, object string) int {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://myvault.vault.azure.net/"+object+"?api-version=7.4", nil)
	r.Header.Set("Accept", "application/json")
	w := httptest.NewRecorder()
	c.Handler().ServeHTTP(w, r)
	return w.Code
}

// Each fault has its own requests, and its turn.
func TestFaultsTakeTurns(t *testing.T) {
	c := azure(t)
	c.AddFault(cloud.Fault{Where: "vault", Millis: 1})
	c.AddFault(cloud.Fault{Where: "vault", Kind: cloud.Keys, Status: 500})
	c.AddFault(cloud.Fault{Where: "vault", Name: "db", Skip: 1, Times: 2, Status: 503})
	c.AddFault(cloud.Fault{Where: "authority", Status: 500})
	var got []int
	for _, object := range []string{"secrets/db", "secrets/db", "secrets/other", "keys/db", "secrets/DB", "secrets/db"} {
		got = append(got, status(t, c, object))
	}
	if diff := cmp.Diff([]int{401, 503, 401, 500, 503, 401}, got); diff != "" {
		t.Error(diff)
	}
}

// A quota is of a vault and a window; the clock is the cloud's.
func TestQuotaWindow(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	c, err := cloud.New(cloud.Config{Login: "login", Suffix: "vault.azure.net", Now: func() time.Time { return now }, State: cloud.State{
		Vaults: []cloud.Vault{{Name: "myvault", Tenant: tenant, Quota: &cloud.Quota{Requests: 2, Seconds: 10}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, step := range []time.Duration{0, 4 * time.Second, 0, 5 * time.Second, time.Second, 0, 0} {
		now = now.Add(step)
		got = append(got, status(t, c, "secrets/db"))
	}
	if diff := cmp.Diff([]int{401, 401, 429, 429, 401, 401, 429}, got); diff != "" {
		t.Error(diff)
	}
}
