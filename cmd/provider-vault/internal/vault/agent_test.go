package vault

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// TestRequestsDiffer: a Vault Agent has one reply for equal requests.
func TestRequestsDiffer(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("GET /v1/db", answer{body: `{"lease_id":"db/1","lease_duration":60,"renewable":true,"data":{"k":"v"}}`})
	r := newRig(t, f)
	for _, v := range []provider.VolumeID{"v1", "v2"} {
		req := newRequest("- {objectName: a, secretPath: db}")
		req.Volume, req.Tells = v, true
		if _, err := r.Mount(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	var seen []string
	for i := range f.requests() {
		seen = append(seen, f.call(i).Header.Get(requestHeader))
	}
	slices.Sort(seen)
	if len(seen) != 3 || seen[0] == "" || len(slices.Compact(seen)) != 3 {
		t.Errorf("3 requests, which are %v by name, have the names %v", f.requests(), seen)
	}
}

// TestLeaseOfTwoVolumes: a cache may have given both the same. It goes with the last.
func TestLeaseOfTwoVolumes(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("GET /v1/db", answer{body: `{"lease_id":"db/1","lease_duration":60,"renewable":true,"data":{"k":"v"}}`})
	f.on("PUT /v1/sys/leases/revoke", answer{status: 204})
	r := newRig(t, f)
	for _, v := range []provider.VolumeID{"v1", "v2"} {
		req := newRequest("- {objectName: a, secretPath: db}")
		req.Volume, req.Tells = v, true
		if _, err := r.Mount(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	r.Unmounted(t.Context(), "v1")
	r.Unmounted(t.Context(), "v1")
	r.jobs.group.Wait()
	if slices.Contains(f.requests(), "PUT /v1/sys/leases/revoke") {
		t.Error("a lease was revoked that a volume has")
	}
	r.Unmounted(t.Context(), "v2")
	for end := time.Now().Add(time.Minute); !slices.Contains(f.requests(), "PUT /v1/sys/leases/revoke"); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the lease was not revoked with the last volume")
		}
	}
}

func TestAllowedSocket(t *testing.T) {
	t.Parallel()
	g, err := newGuard(&Flags{AllowedAddresses: "unix:///run/Vault/*.sock, https://*.Example.com"})
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]bool{
		"unix:///run/Vault/agent.sock": true, "unix:///run/vault/agent.sock": false, "unix:///run/Vault/../x.sock": false,
		"https://a.example.com": true, "https://A.EXAMPLE.COM:443": true, "https://a.example.com:8200": false, "http://a.example.com": false,
	} {
		if got := g.address(address) == nil; got != want {
			t.Errorf("%s allowed: %v", address, got)
		}
	}
}

// TestTarpit: a Vault that answers nothing holds up no other.
func TestTarpit(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	tarpit := newFront(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer close(hang)
	f := newFakeVault(t)
	f.on("GET /v1/a", answer{body: `{"data":{"k":"v"}}`})
	r := newRig(t, f)
	stuck, stop := context.WithCancel(t.Context())
	var mounts sync.WaitGroup
	for i := range 2 * maxRequests {
		req := newRequest(objectA, "vaultAddress", tarpit.URL, "roleName", fmt.Sprint(i))
		mounts.Go(func() { _, _ = r.Mount(stuck, req) })
	}
	slots := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.slots[origin(tarpit.URL)])
	}
	for end := time.Now().Add(time.Minute); slots() < maxRequests; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d requests are under way", slots())
		}
	}
	if _, err := r.mount(t, objectA); err != nil {
		t.Error(err)
	}
	stop()
	mounts.Wait()
}
