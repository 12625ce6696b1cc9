package metrics

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// Source counts the calls of providers.
func (v *Volumes) Source(s rotation.Source) rotation.Source { return source{s, v} }

type source struct {
	rotation.Source

	volumes *Volumes
}

// Mount implements [rotation.Source].
func (s source) Mount(ctx context.Context, name string, req *provider.Request) (*provider.Response, error) {
	label := s.volumes.known(name)
	s.volumes.callsInFlight.WithLabelValues(label).Inc()
	defer s.volumes.callsInFlight.WithLabelValues(label).Dec()
	start := time.Now()
	resp, err := s.Source.Mount(ctx, name, req)
	kind := "OK"
	if err != nil {
		kind = provider.KindOf(err).String()
	}
	s.volumes.calls.WithLabelValues(label, kind).Observe(time.Since(start).Seconds())
	return resp, err
}

// Transport counts the requests to the API server.
func (v *Volumes) Transport(next http.RoundTripper) http.RoundTripper { return transport{next, v} }

type transport struct {
	next    http.RoundTripper
	volumes *Volumes
}

// RoundTrip implements [http.RoundTripper].
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.next.RoundTrip(req)
	code := "error"
	if err == nil {
		code = strconv.Itoa(resp.StatusCode)
	}
	t.volumes.requests.WithLabelValues(verbOf(req), resourceOf(req.URL.Path), code).Inc()
	return resp, err
}

func verbOf(req *http.Request) string {
	switch req.Method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodGet:
		if req.URL.Query().Get("watch") != "" {
			return "watch"
		}
		return "get"
	}
	return "other"
}

// resourceOf finds the kind of objects in a path, among those that the driver uses.
func resourceOf(path string) string {
	for part := range strings.SplitSeq(path, "/") {
		switch part {
		case "secretproviderclasses", "secretproviderclasspodstatuses", "syncedsecrets", "secrets", "events", "pods", "csidrivers":
			return part
		}
	}
	return "other"
}
