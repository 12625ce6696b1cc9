package azure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/azuretest/material"
)

// lossy is a connection that the network forgets one day: what is written is lost, and
// nothing comes back.
type lossy struct {
	net.Conn

	lost   atomic.Bool
	closed chan struct{}
	once   sync.Once
}

// Write implements [net.Conn].
func (l *lossy) Write(p []byte) (int, error) {
	if l.lost.Load() {
		return len(p), nil
	}
	return l.Conn.Write(p)
}

// Read implements [net.Conn].
func (l *lossy) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if l.lost.Load() {
		<-l.closed
		return 0, net.ErrClosed
	}
	return n, err
}

// Close implements [net.Conn].
func (l *lossy) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Conn.Close()
}

// oneAfterTheOther hands connections to a server.
type oneAfterTheOther struct{ conns chan net.Conn }

// Accept implements [net.Listener].
func (o oneAfterTheOther) Accept() (net.Conn, error) {
	if c, ok := <-o.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

// Close implements [net.Listener].
func (oneAfterTheOther) Close() error { return nil }

// Addr implements [net.Listener].
func (oneAfterTheOther) Addr() net.Addr { return &net.UnixAddr{} }

// lossyServer answers by HTTP/2 to the client that it returns; last is the connection
// that was opened last.
func lossyServer(t *testing.T) (client *http.Client, last func() *lossy) {
	t.Helper()
	ca, err := material.NewCA("test")
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := ca.Server("shop.test")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM())
	incoming := oneAfterTheOther{make(chan net.Conn)}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Proto", r.Proto)
	}), TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}}
	go func() { _ = server.ServeTLS(incoming, "", "") }()
	client = newTransport()
	transport, ok := client.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("%T", client.Transport)
	}
	var opened *lossy
	transport.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	transport.Proxy = nil
	transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		incoming.conns <- there
		opened = &lossy{Conn: here, closed: make(chan struct{})}
		return opened, nil
	}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		close(incoming.conns)
		_ = server.Close()
	})
	return client, func() *lossy { return opened }
}

// TestLostConnection: a connection that the network has forgotten, as a firewall does
// after some idle minutes, is not used again and again.
func TestLostConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client, last := lossyServer(t)
		try := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), tryTimeout)
			defer cancel()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://shop.test/", nil)
			if err != nil {
				return err
			}
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			if proto := resp.Header.Get("Proto"); proto != "HTTP/2.0" {
				t.Errorf("protocol %s", proto)
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
	})
}
