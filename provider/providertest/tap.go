package providertest

import (
	"bytes"
	"context"
	"slices"
	"sync"

	"github.com/strongroom/strongroom/provider"
)

// tap is a provider under watch: it knows what the wire does not show.
type tap struct {
	provider provider.Provider

	mu       sync.Mutex
	inFlight int
	panics   int
	gone     int
	kept     []kept
}

// kept is an answer, and what it was when it was given.
type kept struct {
	given *provider.Response
	was   provider.Response
}

// Mount implements [provider.Provider].
func (t *tap) Mount(ctx context.Context, req *provider.Request) (*provider.Response, error) {
	defer t.enter()()
	resp, err := t.provider.Mount(ctx, req)
	if resp != nil && err == nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.kept = append(t.kept, kept{resp, clone(resp)})
	}
	return resp, err
}

// enter counts a call; what it returns ends it, and counts a panic.
func (t *tap) enter() (leave func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.inFlight++
	return func() {
		cause := recover()
		t.mu.Lock()
		t.inFlight--
		if cause != nil {
			t.panics++
		}
		t.mu.Unlock()
		if cause != nil {
			panic(cause)
		}
	}
}

// Audiences implements [provider.Audiencer].
func (t *tap) Audiences() []string {
	if p, ok := t.provider.(provider.Audiencer); ok {
		return p.Audiences()
	}
	return nil
}

// UsesVersions implements [provider.VersionUser].
func (t *tap) UsesVersions() bool {
	p, ok := t.provider.(provider.VersionUser)
	return ok && p.UsesVersions()
}

// Unmounted implements [provider.Unmounter].
func (t *tap) Unmounted(ctx context.Context, v provider.VolumeID) {
	defer t.enter()()
	if p, ok := t.provider.(provider.Unmounter); ok {
		p.Unmounted(ctx, v)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone++
}

// counts returns how many calls are in flight, panicked, and were of Unmounted.
func (t *tap) counts() (inFlight, panics, gone int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.inFlight, t.panics, t.gone
}

// answers returns all that was answered so far.
func (t *tap) answers() []kept {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.kept)
}

func clone(resp *provider.Response) provider.Response {
	own := *resp
	own.Versions = slices.Clone(resp.Versions)
	own.Files = slices.Clone(resp.Files)
	for i := range own.Files {
		own.Files[i].Contents = bytes.Clone(own.Files[i].Contents)
	}
	return own
}

// record is text that is written and read side by side.
type record struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements [io.Writer].
func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.buf.String()
}
