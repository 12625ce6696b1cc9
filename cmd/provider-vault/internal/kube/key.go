package kube

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

const (
	// keyField is the field of the Secret that holds the key.
	keyField = "key"
	keySize  = 32
	// keyFresh is how long a key is used without asking for it again, keyRetry how long
	// nobody asks after a failure when there is none.
	keyFresh = time.Minute
	keyRetry = 10 * time.Second
	// keyPatience bounds what one read of the key costs a mount.
	keyPatience = 3 * time.Second
)

// VersionKey is the key of object versions. All providers of the cluster share it in
// an immutable Secret, so a version says the same on each node. It is kept in memory.
type VersionKey struct {
	client *Client
	name   string
	log    *slog.Logger
	fresh  time.Duration

	mu      sync.Mutex
	key     []byte
	next    time.Time     // no read before
	reading chan struct{} // is closed when the read under way ends; nil for none
	told    string        // the failure that was logged last
}

// VersionKey returns the key in the Secret name of the provider's namespace.
func (c *Client) VersionKey(name string, log *slog.Logger) *VersionKey {
	return &VersionKey{client: c, name: name, log: log, fresh: keyFresh}
}

// Get returns the key, or nil while there has never been one; the caller must not
// change it. It makes the Secret if there is none. A failure is logged, and the key
// stays what it was. Get may be called concurrently: while one reads again, the others
// have the old key at once. It never waits longer than ctx, or some seconds.
func (v *VersionKey) Get(ctx context.Context) []byte {
	v.mu.Lock()
	mine := v.reading == nil && !time.Now().Before(v.next)
	if mine {
		v.reading = make(chan struct{})
		go v.read(ctx, v.reading)
	}
	key, reading := v.key, v.reading
	v.mu.Unlock()
	if reading == nil || key != nil && !mine {
		return key
	}
	select {
	case <-reading:
	case <-ctx.Done():
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.key
}

// read asks for the key once. It outlives the call that began it, which others may be
// waiting for as well.
func (v *VersionKey) read(ctx context.Context, done chan struct{}) {
	defer close(done)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyPatience)
	defer cancel()
	key, err := v.ask(ctx)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.reading, v.next = nil, time.Now().Add(v.fresh)
	if err == nil {
		v.key = key
	} else if v.key == nil {
		v.next = time.Now().Add(min(v.fresh, keyRetry))
	}
	v.tell(ctx, err)
}

// tell logs a failure when its text changes, and its end. The caller holds the lock.
func (v *VersionKey) tell(ctx context.Context, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text == v.told {
		return
	}
	v.told = text
	switch {
	case err == nil:
		v.log.LogAttrs(ctx, slog.LevelInfo, "the key of object versions is there")
	case v.key == nil:
		v.log.LogAttrs(ctx, slog.LevelWarn, "no key of object versions: versions are empty until there is one", slog.String("err", text))
	default:
		v.log.LogAttrs(ctx, slog.LevelWarn, "key of object versions not read again: the one in memory stays", slog.String("err", text))
	}
}

// secret is a Secret as far as it matters here.
type secret struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Metadata   metadata          `json:"metadata"`
	Type       string            `json:"type"`
	Immutable  bool              `json:"immutable"`
	Data       map[string][]byte `json:"data"`
}

type metadata struct {
	Name string `json:"name"`
}

func (v *VersionKey) ask(ctx context.Context) ([]byte, error) {
	key, err := v.get(ctx)
	if codeOf(err) != http.StatusNotFound {
		return key, err
	}
	key, err = v.create(ctx)
	if codeOf(err) != http.StatusConflict {
		return key, err
	}
	return v.get(ctx) // another provider was faster
}

func (v *VersionKey) get(ctx context.Context) ([]byte, error) {
	var s secret
	if err := v.client.call(ctx, ask{method: http.MethodGet, path: append(v.path(), v.name)}, &s); err != nil {
		return nil, v.failure("read", err)
	}
	if len(s.Data[keyField]) == 0 {
		return nil, fmt.Errorf("secret %s/%s has nothing in its field %s: delete it, and the provider makes a new one",
			v.client.namespace, v.name, keyField)
	}
	return s.Data[keyField], nil
}

func (v *VersionKey) create(ctx context.Context) ([]byte, error) {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // it never fails
	s := secret{
		APIVersion: "v1", Kind: "Secret", Metadata: metadata{Name: v.name},
		Type: "Opaque", Immutable: true, Data: map[string][]byte{keyField: key},
	}
	if err := v.client.call(ctx, ask{method: http.MethodPost, path: v.path(), object: s}, &s); err != nil {
		return nil, v.failure("create", err)
	}
	return key, nil
}

func (v *VersionKey) path() []string {
	return []string{"api", "v1", "namespaces", v.client.namespace, "secrets"}
}

func (v *VersionKey) failure(verb string, err error) error {
	advice := ""
	switch {
	case codeOf(err) == http.StatusForbidden:
		advice = ": the Role, its binding and the policy in manifests/components/provider-vault allow it, " +
			"in that namespace and for the name that -hmac-secret-name has there"
	case codeOf(err) == http.StatusUnauthorized:
		advice = ": the API server does not know the provider's token: is the volume api-access in its pod?"
	case errors.Is(err, context.DeadlineExceeded):
		advice = ": the API server did not answer in time"
	}
	return fmt.Errorf("%s secret %s/%s: %w%s", verb, v.client.namespace, v.name, err, advice)
}
