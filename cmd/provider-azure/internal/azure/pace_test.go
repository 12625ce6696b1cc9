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

// objectsOf is a class with one secret of each name.
func objectsOf(names ...string) string {
	var items []string
	for _, name := range names {
		items = append(items, fmt.Sprintf("%q", "{objectName: "+name+", objectType: secret}"))
	}
	return "array: [" + strings.Join(items, ", ") + "]"
}

// refreshes has so many volumes of one object each refreshed at once, and returns when
// they all wait or are done; done ends with the last of them.
func (g *ground) refreshes(t *testing.T, n int) (done func()) {
	t.Helper()
	var group sync.WaitGroup
	reqs := make([]*provider.Request, n)
	for i := range n {
		name := fmt.Sprint("db", i)
		g.put(t, name, "v1")
		reqs[i] = g.asPrincipal(ask(podOf(fmt.Sprint("r", i)), objectsOf(name)))
		group.Go(func() { g.must(t, reqs[i]) })
	}
	group.Wait()
	time.Sleep(time.Minute)
	g.ClearCounters()
	for _, req := range reqs {
		group.Go(func() { g.must(t, req) })
	}
	time.Sleep(10 * time.Millisecond)
	return group.Wait
}

// TestFirstMountsGoBefore: a new pod does not wait until the refreshes of its node have
// had their turn, not even for an object that one of them waits for.
func TestFirstMountsGoBefore(t *testing.T) {
	t.Parallel()
	for name, object := range map[string]string{"another object": "new", "an object that a refresh waits for": "db1234"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newBubble(t)
				g.put(t, "new", "v1")
				const waiting = 2000
				done := g.refreshes(t, waiting)
				begin := time.Now()
				for i := range 20 {
					g.must(t, g.asPrincipal(ask(podOf(fmt.Sprint("new", i)), objectsOf(object))))
				}
				if took := time.Since(begin); took > time.Second {
					t.Errorf("first mounts took %v", took)
				}
				if n := g.Counters().Count(cloud.Read{Op: "get"}); n > waiting/2 {
					t.Errorf("%d reads were made: nothing waits", n)
				}
				done()
				if n := g.Counters().Count(cloud.Read{Op: "get", Name: object}); n != 1 {
					t.Errorf("%d reads of the object, want 1 for all", n)
				}
				if took := time.Since(begin); took < 10*time.Second || took > 40*time.Second {
					t.Errorf("the refreshes took %v", took)
				}
			})
		})
	}
}

// TestQueueIsTold: reads that wait for their turn when the vault wants no more requests
// are not made then.
func TestQueueIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		const volumes = 600
		var group sync.WaitGroup
		for i := range volumes {
			name := fmt.Sprint("db", i)
			g.put(t, name, "v1")
			group.Go(func() { g.must(t, g.asPrincipal(ask(podOf(name), objectsOf(name)))) })
		}
		time.Sleep(time.Second)
		g.AddFault(cloud.Fault{Where: "vault", Status: 429, RetryAfter: "10", Times: 1})
		time.Sleep(100 * time.Millisecond)
		g.ClearCounters()
		time.Sleep(9 * time.Second)
		if n := g.reads(); n != 0 {
			t.Errorf("%d requests while the vault wants none", n)
		}
		group.Wait()
		if n := g.reads(); n < 100 {
			t.Errorf("%d requests were left: nothing waited", n)
		}
	})
}

// TestThrottledWithoutTime: a vault that does not say for how long it wants no requests
// gets fewer and fewer, and as many as ever when it answers again.
func TestThrottledWithoutTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		const volumes, while = 200, 30 * time.Second
		g.put(t, "db", "v1")
		g.must(t, g.asPrincipal(ask(podOf("first"), oneSecret)))
		g.AddFault(cloud.Fault{Where: "vault", Status: 429})
		var group sync.WaitGroup
		for i := range volumes {
			name := fmt.Sprint("db", i)
			g.put(t, name, "v1")
			group.Go(func() {
				for { // as kubelet does
					if _, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf(name), objectsOf(name)))); err == nil {
						return
					}
					time.Sleep(time.Second)
				}
			})
		}
		time.Sleep(while)
		if n := g.reads(); n > 10*requestsPerSecond {
			t.Errorf("%d requests in %v to a vault that wants none", n, while)
		}
		g.ClearFaults()
		begin := time.Now()
		group.Wait()
		if took := time.Since(begin); took > maxPause*5/4+volumes/requestsPerSecond*time.Second+10*time.Second {
			t.Errorf("all that was wanted came after %v", took)
		}
	})
}

// TestPatience: who finds a vault closed again and again is told so while there is time,
// so that an old value can stand in.
func TestPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "v1")
		g.must(t, g.asPrincipal(ask(podOf("first"), oneSecret)))
		g.AddFault(cloud.Fault{Where: "vault", Status: 429})
		var group sync.WaitGroup
		for i := range 200 {
			group.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				begin := time.Now()
				_, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf(fmt.Sprint(i)), objectsOf(fmt.Sprint("db", i)))))
				if took := time.Since(begin); provider.KindOf(err) != provider.Throttled || took > time.Minute {
					t.Errorf("mount %d: kind %v after %v: %v", i, provider.KindOf(err), took, err)
				}
			})
		}
		group.Wait()
	})
}

// TestOwnDeadlines: whoever waits for a login that hangs leaves when its own time is
// over, and is told what it waited for.
func TestOwnDeadlines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "v1")
		g.AddFault(cloud.Fault{Where: "authority", Hang: true})
		var group sync.WaitGroup
		for i := range 50 {
			group.Go(func() {
				mine := time.Duration(i+1) * 200 * time.Millisecond
				ctx, cancel := context.WithTimeout(t.Context(), mine)
				defer cancel()
				begin := time.Now()
				_, err := g.Mount(ctx, g.asPrincipal(ask(podOf(fmt.Sprint(i)), oneSecret)))
				if took := time.Since(begin); took != mine {
					t.Errorf("took %v of %v", took, mine)
				}
				if provider.KindOf(err) != provider.Timeout || !strings.Contains(err.Error(), principal) || !strings.Contains(err.Error(), "shop") {
					t.Errorf("kind %v: %v", provider.KindOf(err), err)
				}
			})
		}
		group.Wait()
		g.ClearFaults()
		g.must(t, g.asPrincipal(ask(podOf("later"), oneSecret)))
	})
}

// TestHungLogin: a request for a token of which nothing is heard is made again, however
// many join those who wait.
func TestHungLogin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "v1")
		g.AddFault(cloud.Fault{Where: "authority", Hang: true, Times: 1})
		var group sync.WaitGroup
		begin := time.Now()
		for i := range 60 {
			group.Go(func() {
				kind := []string{"secret", "key", "cert"}[i%3]
				req := g.asPrincipal(ask(podOf(fmt.Sprint(i)), fmt.Sprintf(`array: ["{objectName: db%d, objectType: %s}"]`, i, kind)))
				_, err := g.Mount(t.Context(), req)
				if took := time.Since(begin); provider.KindOf(err) != provider.NotFound || took > 100*time.Second {
					t.Errorf("%v after %v", err, took)
				}
			})
			time.Sleep(time.Second)
		}
		group.Wait()
		if n := g.Counters().Tokens[principal]; n != 1 {
			t.Errorf("%d tokens", n)
		}
	})
}

// TestLastStatus: whose time is over while a request is made again is told what Azure
// said last. (azure-contract 17.38)
func TestLastStatus(t *testing.T) {
	t.Parallel()
	const long = 100 * time.Second
	for name, tt := range map[string]struct {
		fault cloud.Fault
		mode  string
		time  time.Duration
		want  string
	}{
		"vault 503":               {cloud.Fault{Where: "vault", Status: 503}, "", 2 * time.Second, "503"},
		"vault 429":               {cloud.Fault{Where: "vault", Status: 429, RetryAfter: "10"}, "", 2 * time.Second, "429"},
		"vault 500, then silence": {cloud.Fault{Where: "vault", Status: 500, Times: 1}, "", 15 * time.Second, "500"},
		"authority 503":           {cloud.Fault{Where: "authority", Status: 503}, "", 2 * time.Second, "503"},
		"authority 429":           {cloud.Fault{Where: "authority", Status: 429, RetryAfter: "20"}, "", 10 * time.Second, "429"},
		"metadata 404":            {cloud.Fault{Where: "metadata", Status: 404}, "useVMManagedIdentity", 10 * time.Second, "404"},
		"metadata 404, for long":  {cloud.Fault{Where: "metadata", Status: 404}, "useVMManagedIdentity", long, "404"},
		"metadata 429, for long":  {cloud.Fault{Where: "metadata", Status: 429}, "useVMManagedIdentity", long, "429"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newBubble(t)
				g.put(t, "db", "v1")
				g.AddFault(tt.fault)
				if tt.fault.Times > 0 {
					g.AddFault(cloud.Fault{Where: tt.fault.Where, Hang: true})
				}
				ctx, cancel := context.WithTimeout(t.Context(), tt.time)
				defer cancel()
				req := g.asPrincipal(ask(podOf("u1"), oneSecret))
				if tt.mode != "" {
					req.Parameters[tt.mode] = "true"
				}
				begin := time.Now()
				_, err := g.Mount(ctx, req)
				if err == nil || !strings.Contains(err.Error(), tt.want) || time.Since(begin) > tt.time {
					t.Errorf("after %v, kind %v: %v", time.Since(begin), provider.KindOf(err), err)
				}
			})
		})
	}
}
