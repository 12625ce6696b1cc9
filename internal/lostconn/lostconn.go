package lostconn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Check fails the test if a transport goes on using a lost connection of HTTP/2 after a
// try of 20 seconds has failed on it. It is for a synctest bubble, and changes where the
// transport leads.
func Check(t testing.TB, transport *http.Transport) {
	t.Helper()
	last := lead(t, transport)
	try := func() error {
		const patience = 20 * time.Second
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://example.com/", http.NoBody)
		if err != nil {
			return err
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			return err
		}
		if resp.ProtoMajor != 2 {
			t.Errorf("protocol %s", resp.Proto)
		}
		return resp.Body.Close()
	}
	if err := try(); err != nil {
		t.Fatal(err)
	}
	last().lost.Store(true)
	first := try()
	if err := try(); err != nil {
		t.Errorf("the second try: %v; the first one: %v", err, first)
	}
}

// lead makes a transport reach a server of the test; last is the connection that was
// opened last.
func lead(t testing.TB, transport *http.Transport) (last func() *conn) {
	t.Helper()
	incoming := listener{make(chan net.Conn)}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	if err := server.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	server.Listener, server.EnableHTTP2 = incoming, true
	server.StartTLS()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	var opened *conn
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	transport.Proxy = nil
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		incoming.conns <- there
		opened = &conn{Conn: here, closed: make(chan struct{})}
		return opened, nil
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		close(incoming.conns)
		_ = server.Config.Close()
	})
	return func() *conn { return opened }
}

// conn is a connection that gets lost one day: what is written is gone, and nothing
// comes back.
type conn struct {
	net.Conn

	lost   atomic.Bool
	closed chan struct{}
	once   sync.Once
}

// Write implements [net.Conn].
func (c *conn) Write(p []byte) (int, error) {
	if c.lost.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

// Read implements [net.Conn].
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.lost.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

// Close implements [net.Conn].
func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// listener hands connections to a server.
type listener struct{ conns chan net.Conn }

// Accept implements [net.Listener].
func (l listener) Accept() (net.Conn, error) {
	if c, ok := <-l.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

// Close implements [net.Listener].
func (listener) Close() error { return nil }

// Addr implements [net.Listener].
func (listener) Addr() net.Addr { return &net.TCPAddr{} }
