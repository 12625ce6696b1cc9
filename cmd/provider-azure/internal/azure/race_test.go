package azure

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/providertest"
)

// left says what there is of all volumes and identities.
func (p *Provider) left() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.sessions)+len(p.volumes)+p.memory.Used() == 0 {
		return ""
	}
	return fmt.Sprintf("%d sessions, %d volumes, %d bytes", len(p.sessions), len(p.volumes), p.memory.Used())
}

// someone asks as one of several identities for several kinds of objects.
func (g *ground) someone(t *testing.T, n int, otherStack string) *provider.Request {
	t.Helper()
	objects := []string{
		oneSecret, `array: ["{objectName: db, objectType: secret, objectVersionHistory: 3}", "{objectName: none, objectType: key}"]`,
		`array: ["{objectName: db, objectType: secret, objectVersionHistory: 2}", "{objectName: user, objectType: secret}"]`, objectsOf("db", "user"),
	}[n%4]
	req := ask(podOf(fmt.Sprint("u", n%40)), objects, "staleIfError", []string{"", "10m"}[n%2])
	if n%7 == 3 {
		req.Parameters["cloudEnvFileName"] = otherStack
	}
	switch n % 5 {
	case 0:
		return g.asPrincipal(req)
	case 1:
		return g.asWorkload(t, req)
	case 2:
		req.Parameters["useVMManagedIdentity"] = "true"
	case 3:
		g.asPrincipal(req).Secrets["ClientSecret"] = "wrong"
	case 4:
		return g.asBound(t, req)
	}
	return req
}

// storm mounts, refreshes and unmounts while Azure has its troubles. An error is no
// fault of its; a value that is none is.
func (g *ground) storm(t *testing.T, mounts, rounds int) {
	t.Helper()
	other := g.otherStack(t)
	var group sync.WaitGroup
	for n := range mounts {
		group.Go(func() {
			for i := range rounds {
				req := g.someone(t, n, other)
				if i%3 == 2 {
					req.NotBefore = time.Now()
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rand.N(60))*time.Second)
				resp, err := g.Mount(ctx, req)
				cancel()
				if n%5 == 3 && err == nil {
					t.Errorf("mount %d: let in", n)
				}
				for _, f := range filesOf(resp) {
					if !strings.HasPrefix(string(f.Contents), "of "+strings.SplitN(f.Path, "/", 2)[0]) {
						t.Errorf("mount %d: %s has %q", n, f.Path, f.Contents)
					}
				}
				if rand.N(3) == 0 {
					g.Unmounted(t.Context(), req.Volume)
				}
				time.Sleep(time.Duration(rand.N(20_000)) * time.Millisecond)
			}
			g.Unmounted(t.Context(), provider.VolumeID(fmt.Sprint("csi-u", n%40)))
		})
	}
	for _, f := range []cloud.Fault{
		{Where: "vault", Status: 503},
		{Where: "vault", Status: 429, RetryAfter: "3"},
		{Where: "vault", Reset: true},
		{Where: "vault", Hang: true},
		{Where: "vault", Status: 401},
		{Where: "authority", Status: 503},
		{Where: "authority", Hang: true},
		{Where: "metadata", Status: 404},
		{Where: "vault", Status: 200, Body: "{"},
		{Where: "authority", Status: 400, Body: `{"error":"invalid_client"}`},
	} {
		time.Sleep(5 * time.Second)
		g.AddFault(f)
		g.put(t, "db", fmt.Sprint("of db, ", f.Status))
		time.Sleep(5 * time.Second)
		g.ClearFaults()
	}
	group.Wait()
}

// TestStorm: many of every sort at once, and nothing is left of them: no session, no
// volume, no memory, no goroutine. (azure-contract 17.27)
func TestStorm(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "of db")
		g.put(t, "db", "of db 2")
		g.put(t, "user", "of user")
		g.storm(t, 100, 5)
		time.Sleep(linger + coalesceWindow + 2*time.Second)
		if left := g.left(); left != "" {
			t.Error(left)
		}
		g.Transport.CloseIdleConnections()
		synctest.Wait()
		for stack := range strings.SplitSeq(stacks(), "\n\n") {
			for _, ours := range []string{"internal/azure.", "provider/coalesce.", "azure-sdk-for-go", "microsoft-authentication-library"} {
				if strings.Contains(stack, ours) && !strings.Contains(stack, "TestStorm") {
					t.Errorf("a goroutine is left:\n%s", stack)
				}
			}
		}
	})
}

const coalesceWindow = 10 * time.Second

// stacks are those of the goroutines of this bubble: the others have no business here.
func stacks() string {
	text := make([]byte, 4<<20)
	text = text[:runtime.Stack(text, true)]
	head, _, _ := strings.Cut(string(text), "\n")
	_, bubble, _ := strings.Cut(head, "synctest bubble ")
	var mine []string
	for stack := range strings.SplitSeq(string(text), "\n\n") {
		line, _, _ := strings.Cut(stack, "\n")
		if _, of, ok := strings.Cut(line, "synctest bubble "); ok && of == bubble {
			mine = append(mine, stack)
		}
	}
	return strings.Join(mine, "\n\n")
}

// TestStormOverTheWire: the same where time is real, for the race detector.
func TestStormOverTheWire(t *testing.T) {
	t.Parallel()
	one, two := newGround(t), newGround(t)
	for _, g := range []*ground{one, two} {
		g.put(t, "db", "of "+g.host(t))
	}
	one.transport = bounded{&http.Client{Transport: &crossroads{by: map[string]http.RoundTripper{one.host(t): one.Transport, two.host(t): two.Transport}}}}
	var group sync.WaitGroup
	for n := range 100 {
		group.Go(func() {
			g := []*ground{one, two}[n%2]
			for range 3 {
				req := ask(podOf(fmt.Sprint("u", n)), oneSecret, "cloudName", "AzureStackCloud", "cloudEnvFileName", g.stack)
				if n%4 < 2 {
					one.asPrincipal(req)
				} else {
					g.asWorkload(t, req)
				}
				resp, err := one.Mount(t.Context(), req)
				if err != nil || string(resp.Files[0].Contents) != "of "+g.host(t) {
					t.Errorf("%v: %v", resp, err)
				}
				one.Unmounted(t.Context(), req.Volume)
			}
		})
	}
	group.Wait()
}

// TestFreshTogether: while all ask at once, nobody gets what is too old for him: a new
// pod nothing from more than ten seconds ago, a refresh nothing that its volume has, a
// forced one nothing from before the force. (P4)
func TestFreshTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", fmt.Sprint(time.Now().UnixNano()))
		done := make(chan struct{})
		var writer, group sync.WaitGroup
		writer.Go(func() { // the value is when it was written, each 100 ms
			for {
				select {
				case <-done:
					return
				case <-time.After(100 * time.Millisecond):
					g.put(t, "db", fmt.Sprint(time.Now().UnixNano()))
				}
			}
		})
		const slack = 200 * time.Millisecond
		g.AddFault(cloud.Fault{Where: "vault", Millis: 3}) // answers take their time
		for n := range 60 {
			group.Go(func() {
				had := ""
				for i := range 15 {
					time.Sleep(time.Duration(rand.N(4000)) * time.Millisecond)
					req := g.asPrincipal(ask(podOf(fmt.Sprint(n)), oneSecret))
					oldest := time.Now().Add(-coalesceWindow - slack)
					if i%4 == 3 {
						req.NotBefore = time.Now()
						oldest = req.NotBefore.Add(-slack)
					}
					got := g.must(t, req)["db"]
					var nanos int64
					if _, err := fmt.Sscan(got, &nanos); err != nil || time.Unix(0, nanos).Before(oldest) {
						t.Errorf("pod %d, ask %d: a value %v before now", n, i, time.Since(time.Unix(0, nanos)))
					}
					if got < had {
						t.Errorf("pod %d, ask %d: older than what it had", n, i)
					}
					had = got
				}
			})
		}
		group.Wait()
		close(done)
		writer.Wait()
	})
}

// TestVolumeAnew: a mount that ends after its volume was unmounted leaves the next one
// of that volume alone.
func TestVolumeAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "v1")
		req := g.asWorkload(t, ask(podOf("u1"), oneSecret))
		g.AddFault(cloud.Fault{Where: "vault", Hang: true})
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { _, _ = g.Mount(ctx, req) })
		time.Sleep(time.Second)
		g.Unmounted(t.Context(), req.Volume)
		group.Go(func() { g.must(t, req) })
		time.Sleep(time.Second)
		cancel()
		time.Sleep(time.Second)
		g.ClearFaults()
		group.Wait()
		g.mu.Lock()
		v := g.volumes[req.Volume]
		g.mu.Unlock()
		if v == nil || v.session == nil || len(v.session.credential.proofs) != 1 {
			t.Errorf("the volume is not known: %+v", v)
		}
		g.Unmounted(t.Context(), req.Volume)
		time.Sleep(linger + 2*time.Second)
		if left := g.left(); left != "" {
			t.Error(left)
		}
	})
}

// TestManyVaults: an identity that asks for one vault after another is not remembered
// with all of them.
func TestManyVaults(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "v1")
		if err := g.Change(func(s *cloud.State) error {
			for i := range 300 {
				s.Vaults = append(s.Vaults, cloud.Vault{Name: fmt.Sprint("vault", i), Tenant: tenant})
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		g.must(t, g.asPrincipal(ask(podOf("u1"), oneSecret)))
		for i := range 300 {
			if _, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf("u2"), oneSecret, "keyvaultName", fmt.Sprint("vault", i)))); provider.KindOf(err) != provider.Denied {
				t.Fatal(err)
			}
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, s := range g.sessions {
			if len(s.vaults) > maxVaults {
				t.Errorf("%d vaults", len(s.vaults))
			}
		}
		if len(g.paces) > maxPaces {
			t.Errorf("%d paces", len(g.paces))
		}
	})
}

// faulty is a program error in the way to the authority.
type faulty struct{ inner http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (f *faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/token") {
		panic(canary)
	}
	return f.inner.RoundTrip(r)
}

// TestPanicOfLogin: it is an error for all who wait, and the log says where it was.
func TestPanicOfLogin(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.put(t, "db", "v1")
	var log providertest.Buffer
	g.log = slog.New(slog.NewTextHandler(&log, nil))
	g.transport = bounded{&http.Client{Transport: &faulty{g.Transport}}}
	for range 3 {
		_, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf("u1"), objectsOf("db", "user"))))
		if provider.KindOf(err) != provider.Internal || strings.Contains(err.Error(), canary) {
			t.Errorf("kind %v: %v", provider.KindOf(err), err)
		}
	}
	if text := log.String(); !strings.Contains(text, "faulty") || strings.Contains(text, canary) {
		t.Errorf("the log does not say where the panic was: %s", text)
	}
}
