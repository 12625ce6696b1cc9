package rotationtest

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// callTimeout is what the driver gives a provider for one call.
const callTimeout = 100 * time.Second

// Node is a node whose volumes are in memory.
type Node struct {
	*rotation.Volumes

	mu      sync.Mutex
	mounted map[string]rotation.Generation
	notices []rotation.Notice
}

// Mount is how a provider is called.
type Mount func(context.Context, *provider.Request) (*provider.Response, error)

// NewNode returns a node with one class, all of whose volumes a provider fills, and runs
// its clock until the end of the test.
func NewNode(t testing.TB, class rotation.Class, interval time.Duration, mount Mount) *Node {
	t.Helper()
	n := &Node{mounted: map[string]rotation.Generation{}}
	files := inMemory{n}
	volumes, err := rotation.New(rotation.Config{
		Source: source{mount}, Cluster: cluster{n, class}, Files: files, Notes: files, Mounts: files, Meter: unmetered{},
		Interval: interval, Node: "n1", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Volumes = volumes
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = volumes.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
	return n
}

// Content returns the files at a target by their paths; nil if nothing is mounted.
func (n *Node) Content(target string) map[string]string {
	n.mu.Lock()
	defer n.mu.Unlock()
	g, ok := n.mounted[target]
	if !ok {
		return nil
	}
	content := map[string]string{}
	for _, f := range g.Files {
		content[f.Path] = string(f.Contents)
	}
	return content
}

// Notices are what users were told.
func (n *Node) Notices() []rotation.Notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.notices)
}

type source struct{ mount Mount }

// Mount implements [rotation.Source].
func (s source) Mount(ctx context.Context, _ string, req *provider.Request) (*provider.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.mount(ctx, req)
}

// Unmounted implements [rotation.Source].
func (source) Unmounted(context.Context, string, provider.VolumeID) {}

type cluster struct {
	*Node

	class rotation.Class
}

// Class implements [rotation.Cluster].
func (c cluster) Class(context.Context, string, string) (rotation.Class, error) { return c.class, nil }

// Record implements [rotation.Cluster].
func (cluster) Record(context.Context, rotation.Snapshot) error { return nil }

// Tell implements [rotation.Cluster].
func (c cluster) Tell(_ context.Context, notice rotation.Notice) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notices = append(c.notices, notice)
	return nil
}

type inMemory struct{ *Node }

var errAbsent = errors.New("nothing is mounted")

// Look implements [rotation.Files].
func (m inMemory) Look(target string) (rotation.Found, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g, ok := m.mounted[target]
	if !ok {
		return rotation.Found{Target: target}, nil
	}
	return rotation.Found{Target: target, State: rotation.Complete, Memory: g.Memory}, nil
}

// Replace implements [rotation.Files].
func (m inMemory) Replace(target string, g rotation.Generation) (changed bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.mounted[target]
	if g.Again && !ok {
		return false, errAbsent
	}
	m.mounted[target] = g
	return !slices.EqualFunc(old.Files, g.Files, func(a, b provider.File) bool {
		return a.Path == b.Path && a.Mode == b.Mode && string(a.Contents) == string(b.Contents)
	}), nil
}

// Remove implements [rotation.Files].
func (m inMemory) Remove(target string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.mounted, target)
	return nil
}

// Remember implements [rotation.Notes].
func (m inMemory) Remember(target string, memory []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	g, ok := m.mounted[target]
	if !ok {
		return errAbsent
	}
	g.Memory = memory
	m.mounted[target] = g
	return nil
}

// Scan implements [rotation.Notes].
func (m inMemory) Scan() ([]rotation.Found, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []rotation.Found
	for _, target := range slices.Sorted(maps.Keys(m.mounted)) {
		all = append(all, rotation.Found{Target: target, State: rotation.Complete, Memory: m.mounted[target].Memory})
	}
	return all, nil
}

// Read implements [rotation.Mounts].
func (m inMemory) Read(target string) ([]provider.File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mounted[target].Files, nil
}

// Pinned implements [rotation.Mounts].
func (inMemory) Pinned(string) bool { return false }

type unmetered struct{}

// Delivered implements [rotation.Meter].
func (unmetered) Delivered(rotation.Delivery) {}

// Filled implements [rotation.Meter].
func (unmetered) Filled(string, time.Duration, error) {}

// Unpublished implements [rotation.Meter].
func (unmetered) Unpublished(error) {}
