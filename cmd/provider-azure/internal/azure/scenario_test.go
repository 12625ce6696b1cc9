package azure

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/provider"
)

func (g *ground) must(t *testing.T, req *provider.Request) map[string]string {
	t.Helper()
	resp, err := g.Mount(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range resp.Files {
		files[f.Path] = string(f.Contents)
	}
	return files
}

// reads counts the GETs since the last call.
func (g *ground) reads() int {
	n := g.Counters().Count(cloud.Read{Op: "get"})
	g.ClearCounters()
	return n
}

// TestFreshness: a new pod gets nothing older than ten seconds, a refresh always news,
// a forced one nothing from before the force.
func TestFreshness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "v1")
		first := g.asPrincipal(ask(podOf("u1"), oneSecret))
		if got := g.must(t, first)["db"]; got != "v1" || g.reads() != 1 {
			t.Errorf("got %q", got)
		}
		time.Sleep(9 * time.Second)
		g.put(t, "db", "v2")
		if got := g.must(t, g.asPrincipal(ask(podOf("u2"), oneSecret)))["db"]; got != "v1" || g.reads() != 0 {
			t.Errorf("within the window: got %q", got)
		}
		if got := g.must(t, first)["db"]; got != "v2" || g.reads() != 1 {
			t.Errorf("a refresh got %q, which it knew", got)
		}
		g.put(t, "db", "v3")
		time.Sleep(time.Millisecond)
		forced := g.asPrincipal(ask(podOf("u2"), oneSecret))
		forced.NotBefore = time.Now()
		if got := g.must(t, forced)["db"]; got != "v3" || g.reads() != 1 {
			t.Errorf("forced: got %q", got)
		}
		time.Sleep(11 * time.Second)
		g.put(t, "db", "v4")
		if got := g.must(t, g.asPrincipal(ask(podOf("u3"), oneSecret)))["db"]; got != "v4" || g.reads() != 1 {
			t.Errorf("after the window: got %q", got)
		}
	})
}

// TestPinned: a version that cannot change is read again only to see whether that is
// still allowed, and for a new pod.
func TestPinned(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		version := g.put(t, "db", "v1")
		g.put(t, "db", "v2")
		objects := fmt.Sprintf(`array: ["{objectName: db, objectType: secret, objectVersion: %s}"]`, version)
		one, two := g.asPrincipal(ask(podOf("u1"), objects)), g.asPrincipal(ask(podOf("u2"), objects))
		steps := []struct {
			name  string
			after time.Duration
			ask   *provider.Request
			reads int
		}{
			{"first", 0, one, 1},
			{"refresh", time.Minute, one, 0},
			{"new pod", time.Minute, two, 1},
			{"refresh of the new one", time.Minute, two, 0},
			{"refresh of the first", 0, one, 0},
			{"an hour later", time.Hour, one, 1},
			{"and the other one", 0, two, 0},
		}
		for _, s := range steps {
			time.Sleep(s.after)
			if got := g.must(t, s.ask)["db"]; got != "v1" {
				t.Errorf("%s: got %q", s.name, got)
			}
			if n := g.reads(); n != s.reads {
				t.Errorf("%s: %d reads, want %d", s.name, n, s.reads)
			}
		}
		time.Sleep(time.Minute)
		if err := g.SetEnabled(cloud.Place{Vault: "shop", Kind: cloud.Secrets, Name: "db"}, version, false); err != nil {
			t.Fatal(err)
		}
		one.NotBefore = time.Now()
		if _, err := g.Mount(t.Context(), one); provider.KindOf(err) != provider.Denied {
			t.Errorf("a forced refresh of a version that is disabled: %v", err)
		}
	})
}

// TestHistoryRefresh: a refresh lists, and reads what is new.
func TestHistoryRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "v1")
		time.Sleep(2 * time.Second)
		g.put(t, "db", "v2")
		req := g.asPrincipal(ask(podOf("u1"), `array: ["{objectName: db, objectType: secret, objectVersionHistory: 2}"]`))
		if got := g.must(t, req); got["db/0"] != "v2" || got["db/1"] != "v1" || len(got) != 2 || g.reads() != 2 {
			t.Errorf("got %v", got)
		}
		time.Sleep(time.Minute)
		g.put(t, "db", "v3")
		if got := g.must(t, req); got["db/0"] != "v3" || got["db/1"] != "v2" || len(got) != 2 || g.reads() != 1 {
			t.Errorf("got %v", got)
		}
	})
}

type staleCase struct {
	fault  cloud.Fault
	after  time.Duration // 1 minute if it is 0
	change func(*ground, *provider.Request)
	served bool
}

// tokenLife is that of access tokens in these cases.
const tokenLife = 20 * time.Minute

func staleCases() map[string]staleCase {
	vault := func(status int) cloud.Fault { return cloud.Fault{Where: "vault", Status: status} }
	return map[string]staleCase{
		"503":                   {fault: vault(503), served: true},
		"500":                   {fault: vault(500), served: true},
		"429":                   {fault: vault(429), served: true},
		"429 for an hour":       {fault: cloud.Fault{Where: "vault", Status: 429, RetryAfter: "3600"}, served: true},
		"a broken connection":   {fault: cloud.Fault{Where: "vault", Reset: true}, served: true},
		"a vault that hangs":    {fault: cloud.Fault{Where: "vault", Hang: true}, served: true},
		"no token, login down":  {fault: cloud.Fault{Where: "authority", Status: 503}, after: tokenLife, served: true},
		"no token, login hangs": {fault: cloud.Fault{Where: "authority", Hang: true}, after: tokenLife, served: true},
		"400":                   {fault: vault(400)},
		"401":                   {fault: vault(401)},
		"403":                   {fault: vault(403)},
		"404":                   {fault: vault(404)},
		"garbage":               {fault: cloud.Fault{Where: "vault", Status: 200, Body: "<html>"}},
		"too old":               {fault: vault(503), after: time.Hour + time.Second},
		"refused login": {
			fault: cloud.Fault{Where: "authority", Status: 401, Body: `{"error":"invalid_client"}`},
			after: tokenLife,
		},
		"not asked for": {fault: vault(503), change: func(_ *ground, r *provider.Request) { delete(r.Parameters, "staleIfError") }},
		"for a shorter age": {fault: vault(503), change: func(_ *ground, r *provider.Request) {
			r.Parameters["staleIfError"] = "30s"
		}},
		"another account": {fault: vault(503), change: func(_ *ground, r *provider.Request) { r.Pod.ServiceAccount = "api" }},
		"another secret":  {fault: vault(503), change: func(_ *ground, r *provider.Request) { r.Secrets["clientsecret"] = password + "2" }},
		"a mounted volume": {fault: vault(503), change: func(_ *ground, r *provider.Request) {
			r.Pod, r.Volume = podOf("u1"), "csi-u1"
		}},
	}
}

// TestStaleIfError: who gets the last value from memory, and who does not.
func TestStaleIfError(t *testing.T) {
	t.Parallel()
	for name, tt := range staleCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newBubble(t)
				g.put(t, "db", "v1")
				if err := g.Change(func(s *cloud.State) error {
					s.TokenSeconds = int(tokenLife.Seconds())
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				read := time.Now()
				g.must(t, g.asPrincipal(ask(podOf("u1"), oneSecret, "staleIfError", "2h")))
				time.Sleep(max(tt.after, time.Minute))
				g.AddFault(tt.fault)
				req := g.asPrincipal(ask(podOf("u2"), oneSecret, "staleIfError", "2h"))
				req.Secrets = map[string]provider.Secret{"clientid": principal, "clientsecret": password}
				if tt.change != nil {
					tt.change(g, req)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second) // as the driver does
				defer cancel()
				resp, err := g.Mount(ctx, req)
				if tt.served != (err == nil) {
					t.Fatalf("served: %v; %v", resp, err)
				}
				if err == nil && (string(resp.Files[0].Contents) != "v1" || resp.Stale.Sub(read).Abs() > time.Second) {
					t.Errorf("served %q, of %v", resp.Files[0].Contents, resp.Stale)
				}
			})
		})
	}
}

// TestRevokedToken: a token that Key Vault refuses is replaced once, not again and again.
func TestRevokedToken(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*ground, *provider.Request){
		principal: func(g *ground, r *provider.Request) { g.asPrincipal(r) },
		machine:   func(_ *ground, r *provider.Request) { r.Parameters["useVMManagedIdentity"] = "true" },
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newBubble(t)
			g.put(t, "db", "v1")
			req := ask(podOf("u1"), oneSecret)
			change(g, req)
			tokens := func() int { return g.Counters().Tokens[name] + g.Counters().MetadataTokens[name] }
			g.must(t, req)
			time.Sleep(2 * time.Minute)
			g.AddFault(cloud.Fault{Where: "vault", Status: 401, Times: 2}) // the SDK tries a second time
			if g.must(t, req); tokens() != 2 {
				t.Errorf("%d tokens", tokens())
			}
			g.AddFault(cloud.Fault{Where: "vault", Status: 401})
			for range 5 {
				time.Sleep(5 * time.Second)
				if _, err := g.Mount(t.Context(), req); provider.KindOf(err) != provider.Denied {
					t.Error(err)
				}
			}
			if tokens() != 2 {
				t.Errorf("%d tokens, although a new one was refused too", tokens())
			}
		})
	}
}

// TestProofs: the access token is renewed by what live pods have.
func TestProofs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "v1")
		volume := func(uid string, life time.Duration) *provider.Request {
			req := g.asWorkload(t, ask(podOf(uid), oneSecret))
			req.Tokens[federatedAudience] = g.token(t, req.Pod, life)
			return req
		}
		g.must(t, volume("u1", 10*time.Minute))
		second := volume("u2", 2*time.Hour)
		g.must(t, second)
		g.Unmounted(t.Context(), "csi-u1")
		time.Sleep(65 * time.Minute)
		if g.must(t, second); g.Counters().Tokens[workload] != 2 || g.Counters().Refused[workload] != 0 {
			t.Errorf("%+v", g.Counters())
		}
		// One that Azure refuses, although it is good for longest.
		g.must(t, volume("u3", 3*time.Hour))
		bad := volume("u4", 9*time.Hour)
		token := bad.Tokens[federatedAudience]
		token.Value = token.Value[:strings.LastIndexByte(string(token.Value), '.')] + ".AAAA"
		bad.Tokens[federatedAudience] = token
		time.Sleep(65 * time.Minute)
		g.ClearCounters()
		g.must(t, bad)
		if c := g.Counters(); c.Tokens[workload] != 1 || c.Refused[workload] != 1 {
			t.Errorf("%+v", c)
		}
	})
}

// TestRefusals: whoever is refused does not ask for every pod.
func TestRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "v1")
		for i := range 20 {
			req := g.asPrincipal(ask(podOf(fmt.Sprint(i)), oneSecret))
			req.Secrets["ClientSecret"] = "wrong"
			_, err := g.Mount(t.Context(), req)
			e, ok := errors.AsType[*provider.Error](err)
			if !ok || e.Kind != provider.Denied || e.Step != provider.LoggingIn || !strings.Contains(err.Error(), "AADSTS7000215") ||
				!strings.Contains(err.Error(), principal) {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := g.Counters().Refused[principal]; n != 1 {
			t.Errorf("%d requests for a token within 2 s", n)
		}
		g.must(t, g.asPrincipal(ask(podOf("good"), oneSecret)))
		if err := g.SetApplication(tenant, cloud.Application{ClientID: principal, Secrets: []string{"wrong"}}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(refusalHolds)
		req := g.asPrincipal(ask(podOf("1"), oneSecret))
		req.Secrets["ClientSecret"] = "wrong"
		g.must(t, req)
	})
}

// TestThrottled: what a vault says to one request holds for all.
func TestThrottled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		var pods sync.WaitGroup
		begin := time.Now()
		g.AddFault(cloud.Fault{Where: "vault", Status: 429, RetryAfter: "5", Times: 1})
		for i := range 20 {
			name := fmt.Sprintf("db%d", i)
			g.put(t, name, "v1")
			req := g.asPrincipal(ask(podOf(fmt.Sprint(i)), fmt.Sprintf(`array: ["{objectName: %s, objectType: secret}"]`, name)))
			pods.Go(func() { g.must(t, req) })
		}
		pods.Wait()
		if took := time.Since(begin); took < 5*time.Second || took > 15*time.Second {
			t.Errorf("took %v", took)
		}
		g.ClearFaults()
		g.AddFault(cloud.Fault{Where: "vault", Status: 429, RetryAfter: "60"})
		g.ClearCounters()
		for i := range 20 {
			time.Sleep(time.Second)
			_, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf(fmt.Sprint(i)), oneSecret)))
			e, ok := errors.AsType[*provider.Error](err)
			if !ok || e.Kind != provider.Throttled || e.RetryAfter < 35*time.Second || e.RetryAfter > 60*time.Second {
				t.Errorf("%v: %+v", err, e)
			}
		}
		if n := g.reads(); n != 1 {
			t.Errorf("%d requests while the vault wants none", n)
		}
	})
}

// TestEnd: nothing is kept of volumes that are gone.
func TestEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "v1")
		for i := range 5 {
			g.must(t, g.asWorkload(t, ask(podOf(fmt.Sprint(i)), oneSecret, "staleIfError", "1h")))
		}
		failing := g.asWorkload(t, ask(podOf("x"), `array: ["{objectName: none, objectType: key}"]`))
		if _, err := g.Mount(t.Context(), failing); provider.KindOf(err) != provider.NotFound {
			t.Error(err)
		}
		silent := g.asPrincipal(ask(podOf("y"), oneSecret))
		silent.Tells = false
		g.must(t, silent)
		for i := range 5 {
			g.Unmounted(t.Context(), provider.VolumeID("csi-"+fmt.Sprint(i)))
		}
		time.Sleep(linger + 2*time.Second)
		g.mu.Lock()
		if len(g.sessions) != 1 || len(g.volumes) != 1 || g.memory.Used() != 0 {
			t.Errorf("%d sessions, %d volumes, %d bytes", len(g.sessions), len(g.volumes), g.memory.Used())
		}
		g.mu.Unlock()
		time.Sleep(leastPatience)
		g.must(t, g.asPrincipal(ask(podOf("z"), oneSecret)))
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.volumes) != 1 {
			t.Errorf("%d volumes", len(g.volumes))
		}
	})
}
