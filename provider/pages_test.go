package provider_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/providertest"
)

// watched notes what it is told of calls.
type watched struct {
	mountFunc

	mu    sync.Mutex
	calls []string
}

func (w *watched) Called(method string, took time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = append(w.calls, fmt.Sprint(method, " ", status.Code(err), " ", took > 0))
	if status.Code(err) == codes.NotFound {
		panic(canary)
	}
}

func (w *watched) has(call string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Contains(w.calls, call) {
		return nil
	}
	return fmt.Errorf("%q is not among %q", call, w.calls)
}

func TestObserver(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), &providertest.Buffer{}
	w := &watched{mountFunc: failing}
	serve(t, dir, w, func(c *provider.Config) { c.Log = debugLog(log) })
	c := client(t, dir)
	for do, code := range map[string]codes.Code{
		"fine": codes.OK, "Invalid": codes.InvalidArgument, "panic": codes.Internal, "NotFound": codes.NotFound, // and the observer panics
	} {
		_, err := c.Mount(t.Context(), "acme", &provider.Request{Mode: 0o644, Parameters: map[string]string{"do": do}})
		if (err == nil) != (code == codes.OK) {
			t.Errorf("%s: %v", do, err)
		}
		if err := w.has(fmt.Sprint("/v1alpha1.CSIDriverProvider/Mount ", code, " true")); err != nil {
			t.Error(err)
		}
	}
	cfg := provider.Config{Name: "acme", Endpoint: "unix://" + filepath.Join(dir, "acme.sock")}
	if err := cfg.Probe(t.Context()); err != nil {
		t.Errorf("after all that: %v", err)
	}
	if err := w.has("/grpc.health.v1.Health/Check OK true"); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), canary) {
		t.Error("the log shows what a panic said")
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	addr, other := freeAddr(t), freeAddr(t)
	says := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	}
	serve(t, t.TempDir(), answer("1"), func(c *provider.Config) {
		c.HealthAddr = addr
		c.Pages = []provider.Page{{Addr: addr, Pattern: "GET /more", Handler: says("same")}, {Addr: other, Pattern: "GET /more", Handler: says("other")}}
	})
	eventually(t, func() error { return get("http://"+addr+"/more", "same") })
	eventually(t, func() error { return get("http://"+other+"/more", "other") })
	if err := get("http://"+addr+"/health/ready", ""); err != nil {
		t.Error(err)
	}
	if get("http://"+other+"/metrics", "") == nil {
		t.Error("metrics where nobody asked for them")
	}
}

// A pattern that an operator chose badly is an error, and so is an address that is taken.
func TestPagesThatCannotBeServed(t *testing.T) {
	t.Parallel()
	taken := freeAddr(t)
	serve(t, t.TempDir(), answer("1"), func(c *provider.Config) { c.HealthAddr = taken })
	eventually(t, func() error { return get("http://"+taken+"/health/live", "") })
	for want, page := range map[string]provider.Page{
		`serve "GET /{" at`:            {Addr: freeAddr(t), Pattern: "GET /{"},
		`serve "GET /health/live" at`:  {Addr: "127.0.0.1:0", Pattern: "GET /health/live"},
		"serve health and metrics: li": {Addr: taken, Pattern: "GET /"},
	} {
		page.Handler = http.NotFoundHandler()
		log, path := &providertest.Buffer{}, filepath.Join(t.TempDir(), "acme.sock")
		code := provider.Run(provider.Config{
			Name: "acme", Endpoint: path, SocketGID: -1, HealthAddr: "127.0.0.1:0", Pages: []provider.Page{page}, Log: debugLog(log),
			Open: func(context.Context, *slog.Logger) (provider.Provider, error) { return answer(""), nil },
		})
		if _, err := os.Lstat(path); code != 1 || !strings.Contains(strings.ReplaceAll(log.String(), `\"`, `"`), want) || err == nil {
			t.Errorf("%s: exit code %d, socket %v: %s", want, code, err, log)
		}
	}
}
