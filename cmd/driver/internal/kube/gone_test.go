package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

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
	c.catchUp = 100 * time.Millisecond
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
