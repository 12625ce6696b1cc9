package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/strongroom/strongroom/provider/v1alpha1"
	"github.com/strongroom/strongroom/provider/volumes/v1"
)

// The bounds of a stop. Together they are below the 30 seconds after which kubelet
// kills a pod.
const (
	stopGrace  = 10 * time.Second // for calls under way
	cutGrace   = 2 * time.Second  // for calls to notice that they were cut off
	closeGrace = 10 * time.Second // for a Closer
)

// Serve runs a provider until ctx ends. Calls under way then get 10 seconds, and
// after them a [Closer] as much.
func Serve(ctx context.Context, cfg Config) error {
	if err := cfg.check(); err != nil {
		return err
	}
	cfg.Endpoint = cfg.path()
	p, err := cfg.Open(ctx, cfg.Log)
	if err != nil {
		return fmt.Errorf("open provider %s: %w", cfg.Name, err)
	}
	defer closeProvider(ctx, p)
	registry, observe, err := newMetrics(cfg.Name, p)
	if err != nil {
		return err
	}
	pages, err := cfg.pages(registry)
	if err != nil {
		return err
	}
	s := &server{name: cfg.Name, version: BuildVersion(), provider: p, log: cfg.Log, observe: observe}
	socket, err := listen(ctx, cfg.Endpoint, cfg.SocketGID)
	if err != nil {
		return err
	}
	made, err := os.Lstat(cfg.Endpoint)
	if err != nil {
		return errors.Join(fmt.Errorf("find the socket again: %w", err), socket.Close())
	}
	defer unlink(cfg.Endpoint, made)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.serve(ctx, socket) })
	for addr, mux := range pages {
		group.Go(func() error { return serveHTTP(ctx, addr, mux) })
	}
	cfg.Log.LogAttrs(ctx, slog.LevelInfo, "serving", slog.String("provider", cfg.Name),
		slog.String("path", cfg.Endpoint), slog.String("version", s.version))
	return group.Wait()
}

func closeProvider(ctx context.Context, p Provider) {
	closer, ok := p.(Closer)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeGrace)
	defer cancel()
	closer.Close(ctx)
}

func (s *server) serve(ctx context.Context, socket net.Listener) error {
	g := grpc.NewServer(grpc.ChainUnaryInterceptor(s.interceptors()...))
	v1alpha1.RegisterCSIDriverProviderServer(g, s)
	if p, ok := s.provider.(Unmounter); ok {
		volumes.RegisterVolumesServer(g, &volumesServer{provider: p, log: s.log})
	}
	grpc_health_v1.RegisterHealthServer(g, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- g.Serve(socket) }()
	select {
	case err := <-served:
		stopWithin(g, stopGrace)
		return fmt.Errorf("serve %s: %w", socket.Addr(), err)
	case <-ctx.Done():
		stopWithin(g, stopGrace)
		<-served //nolint:errcheck // it was told to stop
		return nil
	}
}

// stopWithin lets calls finish for a while, then cuts them off. It returns when the
// last one has ended, unless one goes on although it was cut off.
func stopWithin(g *grpc.Server, grace time.Duration) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		g.GracefulStop()
	}()
	select {
	case <-ended:
		return
	case <-time.After(grace):
	}
	g.Stop()
	select {
	case <-ended:
	case <-time.After(cutGrace):
	}
}

func newMetrics(name string, p Provider) (*prometheus.Registry, func(string, time.Duration), error) {
	registry := prometheus.NewRegistry()
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:        "strongroom_provider_mount_duration_seconds",
		Help:        "Time to answer one Mount call, by the kind of its result.",
		ConstLabels: prometheus.Labels{"provider": name},
		Buckets:     prometheus.ExponentialBuckets(0.001, 4, 9), // 1 ms to 65 s
	}, []string{"kind"})
	registry.MustRegister(took, BuildCollector(), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if own, ok := p.(prometheus.Collector); ok {
		if err := registry.Register(own); err != nil {
			return nil, nil, fmt.Errorf("register the metrics of provider %s: %w", name, err)
		}
	}
	return registry, func(kind string, d time.Duration) { took.WithLabelValues(kind).Observe(d.Seconds()) }, nil
}

// pages returns what to serve at which address.
func (c *Config) pages(registry *prometheus.Registry) (map[string]*http.ServeMux, error) {
	var all []Page
	metricsAddr := c.MetricsAddr
	if metricsAddr == "" {
		metricsAddr = c.HealthAddr
	}
	if metricsAddr != "" {
		all = append(all, Page{metricsAddr, "GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{})})
	}
	if c.HealthAddr != "" {
		all = append(all,
			Page{c.HealthAddr, "GET /health/live", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})},
			Page{c.HealthAddr, "GET /health/ready", http.HandlerFunc(c.ready)})
	}
	pages := map[string]*http.ServeMux{}
	for _, p := range append(all, c.Pages...) {
		if pages[p.Addr] == nil {
			pages[p.Addr] = http.NewServeMux()
		}
		if err := handle(pages[p.Addr], p); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

// handle adds a page. ServeMux panics for patterns that are wrong, or in use, and an
// operator may have chosen this one.
func handle(mux *http.ServeMux, p Page) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("serve %q at %s: %v", p.Pattern, p.Addr, cause)
		}
	}()
	mux.Handle(p.Pattern, p.Handler)
	return nil
}

func (c *Config) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := c.Probe(ctx); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
	}
}

// Probe asks the provider that serves c through its own socket, by its path: it finds
// out when the file is gone, or belongs to something that does not answer.
func (c *Config) Probe(ctx context.Context) (err error) {
	path := c.path()
	conn, err := grpc.NewClient("passthrough:///"+c.Name, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dialSocket(ctx, path) }))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	resp, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return fmt.Errorf("socket %s does not answer: %w", path, err)
	}
	if resp.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
		return fmt.Errorf("socket %s answers %s", path, resp.GetStatus())
	}
	return nil
}

// path is that of the socket.
func (c *Config) path() string { return strings.TrimPrefix(c.Endpoint, "unix://") }

func serveHTTP(ctx context.Context, addr string, mux http.Handler) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("serve health and metrics: %w", err)
	}
	s := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stopped := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stopped()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health and metrics at %s: %w", addr, err)
	}
	return nil
}
