package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
)

const checkTimeout = 3 * time.Second

// check is one condition of health.
type check struct {
	name string
	do   func(context.Context) error
}

// pages returns what to serve at which address.
func pages(o *options, live, ready []check) map[string]*http.ServeMux {
	pages := map[string]*http.ServeMux{}
	at := func(addr string) *http.ServeMux {
		if pages[addr] == nil {
			pages[addr] = http.NewServeMux()
		}
		return pages[addr]
	}
	if o.metricsAddr != "" {
		at(o.metricsAddr).Handle("GET /metrics", promhttp.HandlerFor(ctrlmetrics.Registry, promhttp.HandlerOpts{}))
	}
	if o.healthAddr != "" {
		at(o.healthAddr).Handle("GET /healthz", checked(live))
		at(o.healthAddr).Handle("GET /readyz", checked(ready))
	}
	if o.pprof { // profiles show what is in memory: this node's administrators only
		mux := at(net.JoinHostPort("127.0.0.1", strconv.Itoa(o.pprofPort)))
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return pages
}

// checked answers 200 if all checks pass, else 503 and the first failure.
func checked(checks []check) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
		defer cancel()
		for _, c := range checks {
			if err := c.do(ctx); err != nil {
				http.Error(w, c.name+": "+err.Error(), http.StatusServiceUnavailable)
				return
			}
		}
		_, _ = w.Write([]byte("ok\n"))
	}
}

func serveHTTP(ctx context.Context, addr string, handler http.Handler) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("serve health or metrics: %w", err)
	}
	s := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	stopped := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stopped()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve health or metrics at %s: %w", addr, err)
	}
	return nil
}
