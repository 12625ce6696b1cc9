package vault

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	// maxReply bounds one reply of Vault: the files of a volume have to fit into
	// a message of 4 MiB, so nothing larger can be of use.
	maxReply = 4<<20 + 64<<10
	// maxTransports bounds what classes can make the provider keep.
	maxTransports = 64
)

// transports holds one transport per distinct way to connect. A transport is
// never changed once it is in here, so a class cannot affect another's.
type transports struct {
	proxy func(*http.Request) (*url.URL, error)
	guard *guard

	mu   sync.Mutex
	byID map[transportKey]*transport
}

type transportKey struct {
	tls    digest
	socket string
}

// transport is an [http.RoundTripper] with bounded replies.
type transport struct {
	key  transportKey
	http *http.Transport
	used time.Time // guarded by transports.mu
}

func newTransports(proxy func(*http.Request) (*url.URL, error), g *guard) *transports {
	return &transports{proxy: proxy, guard: g, byID: map[transportKey]*transport{}}
}

// get returns the transport for TLS settings and an optional unix socket.
func (ts *transports) get(s tlsSettings, socket string) (*transport, error) {
	m, err := s.load(ts.guard)
	if err != nil {
		return nil, err
	}
	key := transportKey{tls: m.digest(), socket: socket}
	if t := ts.find(key); t != nil {
		return t, nil
	}
	// Parsing certificates takes milliseconds, so it is done outside the lock.
	made, err := ts.make(m, socket)
	if err != nil {
		return nil, err
	}
	return ts.keep(key, made), nil
}

func (ts *transports) find(key transportKey) *transport {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.byID[key]
	if t != nil {
		t.used = time.Now()
	}
	return t
}

// keep returns the one under key, which another call may have put there first.
func (ts *transports) keep(key transportKey, made *transport) *transport {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t := ts.byID[key]; t != nil {
		return t
	}
	if len(ts.byID) >= maxTransports {
		ts.evict()
	}
	made.key, made.used = key, time.Now()
	ts.byID[key] = made
	return made
}

// evict drops the transport that was not used for longest. Calls that still
// hold it go on.
func (ts *transports) evict() {
	var oldest transportKey
	var found *transport
	for key, t := range ts.byID {
		if found == nil || t.used.Before(found.used) {
			oldest, found = key, t
		}
	}
	if found != nil {
		delete(ts.byID, oldest)
		found.http.CloseIdleConnections()
	}
}

// A connection of HTTP/2 on which nothing is heard for pingAfter is tried, and dropped if
// there is no answer within pingTimeout.
const (
	pingAfter   = 10 * time.Second
	pingTimeout = 5 * time.Second
)

func (ts *transports) make(m *material, socket string) (*transport, error) {
	config, err := m.config()
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	t := &http.Transport{
		Proxy:                  ts.proxy,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  time.Second,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		// Or a connection that the network has forgotten would be used for many minutes.
		HTTP2: &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout},
	}
	if socket != "" {
		t.Proxy = nil
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		}
	}
	return &transport{http: t}, nil
}

// RoundTrip implements [http.RoundTripper].
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.http.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, maxReply)
	return resp, nil
}

// splitUnix turns unix:///path into an HTTP address and the socket's path.
func splitUnix(address string) (httpAddress, socket string) {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		return "http://localhost", path
	}
	return address, ""
}
