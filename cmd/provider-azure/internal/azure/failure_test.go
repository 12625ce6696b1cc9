package azure

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/provider"
)

// TestRevokedTogether: all the reads that meet the refusal of a token are made again
// with the new one, not only the first.
func TestRevokedTogether(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		names := []string{"a", "b", "c", "d", "e", "f"}
		for _, name := range names {
			g.put(t, name, "v1")
		}
		req := g.asPrincipal(ask(podOf("u1"), objectsOf(names...)))
		g.must(t, req)
		time.Sleep(2 * time.Minute)
		for _, name := range names { // the SDK tries a second time
			g.AddFault(cloud.Fault{Where: "vault", Name: name, Status: 401, Times: 2, Millis: 100})
		}
		if got := g.must(t, req); len(got) != len(names) {
			t.Errorf("%v", got)
		}
		if n := g.Counters().Tokens[principal]; n != 2 {
			t.Errorf("%d tokens", n)
		}
	})
}

// TestLoginDown: those who wait for one login do not wait for each other's as well.
func TestLoginDown(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]cloud.Fault{
		"503":             {Where: "authority", Status: 503},
		"429":             {Where: "authority", Status: 429, RetryAfter: "100"},
		"a black hole":    {Where: "authority", Hang: true},
		"broken":          {Where: "authority", Reset: true},
		"garbage":         {Where: "authority", Status: 200, Body: "<html>"},
		"OpenID 503":      {Where: "discovery", Status: 503},
		"OpenID garbage":  {Where: "discovery", Status: 200, Body: "{"},
		"someone else's":  {Where: "authority", Status: 403, Body: "<html>blocked by a proxy</html>"},
		"a gateway's 404": {Where: "authority", Status: 404, Body: "not here"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newBubble(t)
				f.Millis = 100 // until all of them wait
				g.AddFault(f)
				var group sync.WaitGroup
				begin := time.Now()
				for i := range 30 {
					group.Go(func() {
						object := fmt.Sprint("db", i)
						ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
						defer cancel()
						_, err := g.Mount(ctx, g.asPrincipal(ask(podOf(fmt.Sprint(i)), objectsOf(object))))
						switch kind := provider.KindOf(err); kind {
						case provider.Unavailable, provider.Throttled, provider.Timeout:
						default:
							t.Errorf("kind %v: %v", kind, err)
						}
					})
				}
				group.Wait()
				took, refused := time.Since(begin), g.Counters().Refused[principal]
				if took > 90*time.Second || refused > 12 {
					t.Errorf("took %v, with %d requests for a token", took, refused)
				}
			})
		})
	}
}

// TestSpareToken: while the authority is down, a token that is good for some minutes is
// used, also for a vault that was never asked before.
func TestSpareToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		if err := g.Change(func(s *cloud.State) error {
			other := s.Vaults[0]
			other.Name, other.Objects = "other", map[cloud.Kind]map[string]*cloud.Object{}
			s.Vaults = append(s.Vaults, other)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		g.put(t, "db", "v1")
		if _, err := g.PutSecret("other", "db", "v2"); err != nil {
			t.Fatal(err)
		}
		g.must(t, g.asPrincipal(ask(podOf("u1"), oneSecret)))
		time.Sleep(57 * time.Minute)
		g.AddFault(cloud.Fault{Where: "authority", Status: 503})
		for _, vault := range []string{"shop", "other"} {
			if got := g.must(t, g.asPrincipal(ask(podOf("u1"), oneSecret, "keyvaultName", vault))); len(got) != 1 {
				t.Errorf("%v", got)
			}
		}
	})
}

// TestEndlessPages: a list that never ends ends.
func TestEndlessPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "v1")
		next := g.VaultURL("shop") + "secrets/db/versions?api-version=7.4&$skiptoken=x"
		g.AddFault(cloud.Fault{Where: "vault", Status: 200, Skip: 1, Body: `{"value":[],"nextLink":"` + next + `"}`})
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		defer cancel()
		_, err := g.Mount(ctx, g.asPrincipal(ask(podOf("u1"), `array: ["{objectName: db, objectType: secret, objectVersionHistory: 2}"]`)))
		if provider.KindOf(err) != provider.Invalid || !strings.Contains(err.Error(), "objectName:db") {
			t.Errorf("%v: %v", provider.KindOf(err), err)
		}
		if n := g.Counters().Count(cloud.Read{Op: "list"}); n > 1000 {
			t.Errorf("%d pages were read", n)
		}
	})
}
