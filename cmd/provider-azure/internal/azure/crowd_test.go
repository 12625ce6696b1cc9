package azure

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// throttled has the vault's pace as refusals leave it: with so many requests in a second,
// and so many tokens for all and for refreshes. Somebody must have asked the vault.
func (g *ground) throttled(t *testing.T, rate, all, refresh float64) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.paces) != 1 {
		t.Fatalf("%d vaults were asked", len(g.paces))
	}
	for _, p := range g.paces {
		p.flow.mu.Lock()
		p.rate, p.spare = rate, 0
		p.all, p.refresh = bucket{tokens: all, at: time.Now()}, bucket{tokens: refresh, at: time.Now()}
		p.flow.mu.Unlock()
	}
}

// TestCrowdLeaves: refreshes that have waited for too long are told so together, and not
// each in its turn.
func TestCrowdLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPace()
		p.rate, p.all.tokens, p.refresh.tokens = leastPerSecond, 0, 0
		var group sync.WaitGroup
		begin := time.Now()
		for range 30 {
			group.Go(func() {
				err := p.wait(t.Context(), make(chan struct{}), begin)
				if took := time.Since(begin); took > maxWait+10*time.Second || err != nil && !isCrowded(err) {
					t.Errorf("after %v: %v", took, err)
				}
			})
		}
		group.Wait()
	})
}

// TestLateComers: a pod that comes when others have waited for the same for a minute,
// and are told so, has a minute of its own.
func TestLateComers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "v1")
		g.must(t, g.asPrincipal(ask(podOf("first"), oneSecret)))
		time.Sleep(time.Minute)
		g.throttled(t, leastPerSecond, -12, 1) // the next one begins after 65 s
		var group sync.WaitGroup
		group.Go(func() {
			if _, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf("early"), oneSecret))); provider.KindOf(err) != provider.Throttled {
				t.Errorf("kind %v: %v", provider.KindOf(err), err)
			}
		})
		time.Sleep(maxWait - 2*time.Second)
		for i := range 3 {
			group.Go(func() {
				if _, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf(fmt.Sprint("late", i)), oneSecret))); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
	})
}

// TestNobodyMeetsWhoWaits: where the first request of a kind is one of a refresh, which
// waits for its turn, a new pod does not wait for it.
func TestNobodyMeetsWhoWaits(t *testing.T) {
	t.Parallel()
	for name, object := range map[string]string{"another object": "other", "the same object": "none"} {
		synctest.Test(t, func(t *testing.T) {
			g := newBubble(t)
			g.put(t, "db", "v1")
			g.must(t, g.asPrincipal(ask(podOf("u1"), oneSecret)))
			g.throttled(t, requestsPerSecond, 20, -1000) // a refresh waits for 10 s
			key := func(pod, name string) time.Duration {
				begin := time.Now()
				objects := fmt.Sprintf(`array: ["{objectName: %s, objectType: key}"]`, name)
				if _, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf(pod), objects))); provider.KindOf(err) != provider.NotFound {
					t.Errorf("kind %v: %v", provider.KindOf(err), err)
				}
				return time.Since(begin)
			}
			var group sync.WaitGroup
			group.Go(func() { key("u1", "none") })
			time.Sleep(time.Millisecond)
			if took := key("new", object); took > time.Second {
				t.Errorf("%s: a first mount took %v", name, took)
			}
			group.Wait()
		})
	}
}
