package azure

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/provider"
)

// another is the provider of another node, to which the vault is the same.
func (g *ground) another(t *testing.T) *ground {
	t.Helper()
	p, err := New(Config{
		Flags: g.flags(), Log: g.log,
		Getenv: func(name string) string { return map[string]string{"AZURE_ENVIRONMENT_FILEPATH": g.stack}[name] },
	})
	if err != nil {
		t.Fatal(err)
	}
	p.transport, p.proxy = g.transport, g.proxy
	other := *g
	other.Provider = p
	return &other
}

// limit gives the vault a quota.
func (g *ground) limit(t *testing.T, quota cloud.Quota) {
	t.Helper()
	text, err := json.Marshal(map[string]any{"quota": quota})
	if err != nil {
		t.Fatal(err)
	}
	answer := httptest.NewRecorder()
	g.ControlHandler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodPatch, "/vaults/shop", bytes.NewReader(text)))
	if answer.Code >= http.StatusBadRequest {
		t.Fatalf("set a quota: %s", answer.Body)
	}
}

// strangers are classes of so many objects, none of which two of them have.
func (g *ground) strangers(t *testing.T, n, objects int) []string {
	t.Helper()
	classes := make([]string, n)
	for i := range classes {
		names := make([]string, objects)
		for j := range names {
			names[j] = fmt.Sprintf("s-%d-%d", i, j)
			g.put(t, names[j], "v1")
		}
		classes[i] = objectsOf(names...)
	}
	return classes
}

// patiently mounts as driver and kubelet do.
func (g *ground) patiently(t *testing.T, req *provider.Request) (tries int) {
	t.Helper()
	for wait := time.Second / 2; ; wait *= 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second)
		_, err := g.Mount(ctx, req)
		cancel()
		if tries++; err == nil {
			return tries
		}
		if wait > 2*time.Minute {
			t.Errorf("%s: %v", req.Pod.Name, err)
			return tries
		}
		time.Sleep(wait)
	}
}

// TestSmallQuota: a vault that answers few requests in a second is asked for hardly more
// than it has to be, and everybody gets what they want in hardly more time than that takes.
func TestSmallQuota(t *testing.T) {
	t.Parallel()
	const objects = 10 // of each class
	for name, tt := range map[string]struct {
		nodes, pods, classes int
		quota                cloud.Quota
		most                 float64 // of the reads, for each that is needed
		slower               float64 // than the quota allows
		inFlight             int     // mounts, as the driver bounds them; 0 for any number
	}{
		"20 in a second, one node": {nodes: 1, pods: 250, classes: 25, quota: cloud.Quota{Requests: 20, Seconds: 1}, most: 1.5, slower: 2.5},
		"20 in a second, one node, 16 mounts in flight": {
			nodes: 1, pods: 250, classes: 25, quota: cloud.Quota{Requests: 20, Seconds: 1}, most: 6, slower: 8, inFlight: 16,
		},
		"200 in ten seconds, one node":  {nodes: 1, pods: 250, classes: 25, quota: cloud.Quota{Requests: 200, Seconds: 10}, most: 1.5, slower: 4},
		"100 in a second, twenty nodes": {nodes: 20, pods: 30, classes: 10, quota: cloud.Quota{Requests: 100, Seconds: 1}, most: 2, slower: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newBubble(t)
				classes := g.strangers(t, tt.classes, objects)
				g.limit(t, tt.quota)
				g.AddFault(cloud.Fault{Where: "vault", Millis: 50})
				needed, tries := tt.nodes*tt.classes*objects, 0
				turns := make(chan struct{}, cmp.Or(tt.inFlight, tt.nodes*tt.pods))
				begin := time.Now()
				var group sync.WaitGroup
				var mu sync.Mutex
				for n := range tt.nodes {
					node := g
					if n > 0 {
						node = g.another(t)
					}
					for i := range tt.pods {
						group.Go(func() {
							time.Sleep(rand.N(100 * time.Millisecond))
							turns <- struct{}{}
							defer func() { <-turns }()
							tried := node.patiently(t, g.asPrincipal(ask(podOf(fmt.Sprintf("%d-%d", n, i)), classes[i%tt.classes])))
							mu.Lock()
							defer mu.Unlock()
							tries += tried
						})
					}
				}
				group.Wait()
				took, counted := time.Since(begin), g.Counters()
				made := counted.Count(cloud.Read{Op: "get"})
				least := time.Duration(float64(needed) / float64(tt.quota.Requests) * float64(tt.quota.Seconds) * float64(time.Second))
				t.Logf("reads: %d needed, %d made; refused: %d; without a token: %d; mounts: %d, tried %d times; all after %.1f s, the quota alone takes %.1f s",
					needed, made, counted.Throttled["shop"], counted.Challenges["shop"], tt.nodes*tt.pods, tries, took.Seconds(), least.Seconds())
				if float64(made) > tt.most*float64(needed) {
					t.Errorf("%d reads for %d that are needed", made, needed)
				}
				if took.Seconds() > tt.slower*least.Seconds() {
					t.Errorf("all are served after %v: the quota allows %v", took, least)
				}
			})
		})
	}
}

// TestRefusalsAreAnswers: a vault that says no to what is asked has room for it.
func TestRefusalsAreAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for status, want := range map[int]bool{200: true, 304: true, 400: true, 403: true, 404: true, 401: false, 408: false, 500: false, 503: false} {
			p := newPace()
			begin := time.Now()
			resp := &http.Response{StatusCode: status, Request: httptest.NewRequestWithContext(t.Context(), http.MethodGet, "https://shop.vault.azure.test", nil)}
			p.rate, p.pause = leastPerSecond, maxPause
			time.Sleep(time.Second)
			p.seen(resp, time.Now())
			if faster, forgets := p.rate > leastPerSecond, p.pause == 0; faster != want || forgets != want || p.answered(begin) != want {
				t.Errorf("%d: faster %v, pauses forgotten %v, answered %v; want %v", status, faster, forgets, p.answered(begin), want)
			}
		}
	})
}
