package provider_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/strongroom/strongroom/provider"
)

// closing is a provider that notes how it is closed.
type closing struct {
	mountFunc

	running, closed atomic.Int32
	early           atomic.Bool  // a call was under way
	left            atomic.Int64 // until ctx ends
}

func (p *closing) Mount(ctx context.Context, req *provider.Request) (*provider.Response, error) {
	p.running.Add(1)
	defer p.running.Add(-1)
	return p.mountFunc(ctx, req)
}

func (p *closing) Close(ctx context.Context) {
	deadline, _ := ctx.Deadline()
	p.left.Store(int64(time.Until(deadline)))
	if ctx.Err() != nil || p.running.Load() > 0 {
		p.early.Store(true)
	}
	p.closed.Add(1)
}

func (p *closing) check(t *testing.T) {
	t.Helper()
	if n := p.closed.Load(); n != 1 || p.early.Load() {
		t.Errorf("closed %d times, too early or with an ended context: %t", n, p.early.Load())
	}
	if left := time.Duration(p.left.Load()); left < 5*time.Second || left > 10*time.Second {
		t.Errorf("the context ends after %v, want 10 s", left)
	}
}

func TestCloseAfterTheLastCall(t *testing.T) {
	t.Parallel()
	dir, entered, release := t.TempDir(), make(chan struct{}), make(chan struct{})
	p := &closing{mountFunc: func(ctx context.Context, req *provider.Request) (*provider.Response, error) {
		close(entered)
		<-release
		return answer("late")(ctx, req)
	}}
	stop := serve(t, dir, p)
	c := client(t, dir)
	asking := make(chan error, 1)
	go func() { asking <- asked(c, "late") }()
	<-entered
	stopping := make(chan struct{})
	go func() {
		defer close(stopping)
		stop()
	}()
	eventually(t, func() error { // it stops: the socket takes nobody any more
		if dial(filepath.Join(dir, "acme.sock")) == nil {
			return errors.New("still listening")
		}
		return nil
	})
	if p.closed.Load() != 0 {
		t.Error("closed before the call under way has ended")
	}
	close(release)
	if err := <-asking; err != nil {
		t.Error(err)
	}
	<-stopping
	p.check(t)
}

func TestCloseWhenServingFails(t *testing.T) {
	t.Parallel()
	taken, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for name, tc := range map[string]struct {
		change  func(*provider.Config)
		metrics prometheus.Collector
		want    string
	}{
		"socket": {want: "a directory is in the way", change: func(c *provider.Config) {
			if err := os.Mkdir(c.Endpoint, 0o700); err != nil {
				t.Fatal(err)
			}
		}},
		"health": {want: "serve health and metrics", change: func(c *provider.Config) { c.HealthAddr = taken.Addr().String() }},
		"metrics": {
			want: "register the metrics of provider acme", change: func(*provider.Config) {},
			metrics: collectors.NewGoCollector(), // is there already
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &closing{mountFunc: answer("1")}
			cfg := provider.Config{
				Name: "acme", Endpoint: filepath.Join(t.TempDir(), "acme.sock"), SocketGID: -1, Log: slog.New(slog.DiscardHandler),
				Open: func(context.Context, *slog.Logger) (provider.Provider, error) {
					if tc.metrics != nil {
						return &collecting{p, tc.metrics}, nil
					}
					return p, nil
				},
			}
			tc.change(&cfg)
			if err := provider.Serve(context.Background(), cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			p.check(t)
		})
	}
}

// collecting is a provider with metrics of its own.
type collecting struct {
	*closing
	prometheus.Collector
}

func TestMetricsOfAProvider(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	logins := prometheus.NewCounter(prometheus.CounterOpts{Name: "acme_logins_total", Help: "Logins."})
	logins.Add(3)
	serve(t, t.TempDir(), &collecting{&closing{mountFunc: answer("1")}, logins}, func(c *provider.Config) { c.HealthAddr = addr })
	eventually(t, func() error { return get("http://"+addr+"/metrics", "acme_logins_total 3") })
}

func TestStaleOverSocket(t *testing.T) {
	t.Parallel()
	dir, read := t.TempDir(), time.Unix(1700000000, 5)
	serve(t, dir, mountFunc(func(ctx context.Context, req *provider.Request) (*provider.Response, error) {
		resp, err := answer("kept")(ctx, req)
		resp.Stale = read
		return resp, err
	}))
	if resp := mountFull(t, client(t, dir)); !resp.Stale.Equal(read) {
		t.Errorf("stale %v, want %v", resp.Stale, read)
	}
}

// A call that honours its context has ended before the provider is closed, one that does
// not keeps nobody waiting.
func TestCloseAfterCallsThatAreCutOff(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("calls get ten seconds to end")
	}
	for name, honest := range map[string]bool{"honest": true, "deaf": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, entered, release := t.TempDir(), make(chan struct{}), make(chan struct{})
			defer close(release)
			var ended atomic.Bool
			p := &closing{mountFunc: func(ctx context.Context, _ *provider.Request) (*provider.Response, error) {
				close(entered)
				select {
				case <-release:
				case <-ctx.Done():
					if !honest {
						<-release
					}
				}
				ended.Store(true)
				return nil, ctx.Err()
			}}
			stop := serve(t, dir, p)
			c := client(t, dir)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			go func() { _, _ = c.Mount(ctx, "acme", &provider.Request{Mode: 0o644}) }()
			<-entered
			begin := time.Now()
			stop()
			if took := time.Since(begin); took < 9*time.Second || took > 25*time.Second {
				t.Errorf("it took %v to stop", took)
			}
			if ended.Load() != honest || p.closed.Load() != 1 || p.early.Load() == honest {
				t.Errorf("the call has ended: %t; closed %d times, early %t", ended.Load(), p.closed.Load(), p.early.Load())
			}
		})
	}
}
