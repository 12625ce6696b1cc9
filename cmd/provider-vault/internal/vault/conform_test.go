package vault

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/providertest"
)

// front stands before a Vault and can make it fail or hang.
type front struct {
	*httptest.Server

	mu    sync.Mutex
	fault http.HandlerFunc
}

func newFront(t *testing.T, vault http.Handler) *front {
	t.Helper()
	f := &front{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		fault := f.fault
		f.mu.Unlock()
		if fault != nil {
			fault(w, r)
			return
		}
		vault.ServeHTTP(w, r)
	}))
	t.Cleanup(f.Close)
	return f
}

// with makes the fault the answer to everything, until it is undone.
func (f *front) with(fault http.HandlerFunc) (mend func()) {
	f.set(fault)
	return func() { f.set(nil) }
}

func (f *front) set(fault http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func TestConform(t *testing.T) {
	t.Parallel()
	vault := newFakeVault(t)
	vault.on("GET /v1/secret/data/app", answer{body: kv2(map[string]any{"password": "s3cr3t-value", "user": "web-user"})})
	vault.on("GET /v1/secret/data/denied", answer{status: http.StatusForbidden, body: `{"errors":["permission denied"]}`})
	f := newFront(t, vault)
	providertest.Conform(t, providertest.Suite{
		Open: func(ctx context.Context, log *slog.Logger) (provider.Provider, error) {
			p, err := New(ctx, Config{
				Flags:  Flags{Address: f.URL, AuthMount: "kubernetes", CacheSize: 1000},
				Getenv: func(string) string { return "" }, Log: log,
				VersionKey: func(context.Context) []byte { return []byte("key") },
			})
			if err == nil {
				p.library.MinRetryWait, p.library.MaxRetryWait = time.Millisecond, 2*time.Millisecond
			}
			return p, err
		},
		Good: map[string]*provider.Request{
			"one key": newRequest("- {objectName: db/password, secretPath: secret/data/app, secretKey: password, filePermission: 0400}"),
			"two keys": newRequest("- {objectName: password, secretPath: secret/data/app, secretKey: password}\n" +
				"- {objectName: user, secretPath: secret/data/app, secretKey: user}"),
			"a whole secret": newRequest("- {objectName: all, secretPath: secret/data/app}"),
		},
		Bad: map[string]*provider.Request{
			"no objects":     newRequest(""),
			"not a list":     newRequest("objectName: a"),
			"bad path":       newRequest("- {objectName: ../a, secretPath: secret/data/app, secretKey: password}"),
			"conflict":       newRequest("- {objectName: a, secretPath: secret/data/app}\n- {objectName: a/b, secretPath: secret/data/app}"),
			"bad permission": newRequest("- {objectName: a, secretPath: secret/data/app, filePermission: 4096}"),
		},
		Missing: map[string]*provider.Request{
			"path": newRequest("- {objectName: a, secretPath: secret/data/app, secretKey: password}\n- {objectName: b, secretPath: secret/data/none}"),
			"key": newRequest("- {objectName: a, secretPath: secret/data/app, secretKey: password}\n" +
				"- {objectName: b, secretPath: secret/data/app, secretKey: none}"),
			"denied": newRequest("- {objectName: a, secretPath: secret/data/app, secretKey: password}\n- {objectName: b, secretPath: secret/data/denied}"),
		},
		Canaries: []string{"s3cr3t-value", "web-user", clientToken},
		Break: func() func() {
			return f.with(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
		},
		Hang: func() func() {
			return f.with(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body) // or the server would not see that the client leaves
				<-r.Context().Done()
			})
		},
	})
}
