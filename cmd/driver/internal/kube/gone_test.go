package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/strongroom/strongroom/pkg/rotation"
)

// goneServer is an API server whose first watch ends with 410, as it does when the
// node was away for longer than the server remembers.
type goneServer struct {
	mu      sync.Mutex
	watches int
	gets    []string
}

func (s *goneServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	meta := func(kind string, fields map[string]any) map[string]any {
		return map[string]any{"kind": kind, "apiVersion": "meta.k8s.io/v1", "metadata": fields}
	}
	switch {
	case r.URL.Query().Get("watch") == "" && r.URL.Path == "/apis/secrets-store.csi.x-k8s.io/v1/secretproviderclasses":
		_ = json.NewEncoder(w).Encode(meta("PartialObjectMetadataList", map[string]any{"resourceVersion": fmt.Sprint(100 + s.watches)}))
	case r.URL.Query().Get("watch") != "":
		s.watches++
		if s.watches == 1 {
			status := map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}
			_ = json.NewEncoder(w).Encode(map[string]any{"type": "ERROR", "object": status})
			return
		}
		w.(http.Flusher).Flush()
		s.mu.Unlock()
		<-r.Context().Done()
		s.mu.Lock()
	default:
		s.gets = append(s.gets, r.URL.Path+"?"+r.URL.RawQuery)
		_ = json.NewEncoder(w).Encode(meta("PartialObjectMetadata", map[string]any{"name": "c", "namespace": "ns", "uid": "u", "generation": 7}))
	}
}

// told notes what a watch tells.
type told struct {
	mu   sync.Mutex
	last string
}

func (*told) Classes() []rotation.ClassName {
	return []rotation.ClassName{{Namespace: "ns", Name: "c"}}
}

func (n *told) ClassChanged(name rotation.ClassName, t rotation.Told) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last = fmt.Sprintf("%s/%s %s %d", name.Namespace, name.Name, t.UID, t.Generation)
}

// After a gap the classes in use are read again, from the API server's cache.
func TestWatchAfterGone(t *testing.T) {
	t.Parallel()
	api := &goneServer{}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	c, err := New(Config{API: &rest.Config{Host: server.URL}, Node: "n", DriverName: "d", UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	c.comeBack, c.catchUp = 100*time.Millisecond, 100*time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	users, done := &told{}, make(chan error, 1)
	go func() { done <- c.Watch(ctx, users, slog.New(slog.DiscardHandler)) }()
	const want = "ns/c u 7"
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		users.mu.Lock()
		last := users.last
		users.mu.Unlock()
		api.mu.Lock()
		again := api.watches > 1
		api.mu.Unlock()
		if again && last == want {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("told %q, want %q", last, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	api.mu.Lock()
	defer api.mu.Unlock()
	const get = "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/ns/secretproviderclasses/c?resourceVersion=0"
	if api.watches < 2 || len(api.gets) == 0 || api.gets[0] != get {
		t.Errorf("%d watches, asked %q", api.watches, api.gets)
	}
}

// TestNodesComeBackOneByOne: an API server that was started again, and has lost its
// history, is not asked by all nodes in the same second.
func TestNodesComeBackOneByOne(t *testing.T) {
	t.Parallel()
	const nodes = 5000
	c, err := New(Config{API: &rest.Config{Host: "http://nowhere.test"}, Node: "n", DriverName: "d", UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	gone := fmt.Errorf("watch: %w", apierrors.FromObject(&apierrors.NewResourceExpired("too old").ErrStatus))
	inSecond, most := map[time.Duration]int{}, 0
	for range nodes {
		second := c.untilNext(gone, firstRetry).Truncate(time.Second)
		inSecond[second]++
		most = max(most, inSecond[second])
		if second >= comeBack {
			t.Fatalf("a node comes back after %v", second)
		}
	}
	if most > 2*nodes/int(comeBack.Seconds()) {
		t.Errorf("%d of %d nodes come back in one second", most, nodes)
	}
	if d := c.untilNext(io.ErrUnexpectedEOF, firstRetry); d >= 2*firstRetry {
		t.Errorf("a node comes back after %v when nothing is lost", d)
	}
}
