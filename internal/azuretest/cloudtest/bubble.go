package cloudtest

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
)

// ports are never the same twice: the SDK keeps tokens of machines for the process, by
// the name of the resource, and that has the port in it.
var ports atomic.Int32 //nolint:gochecknoglobals // as the SDK's cache is

// Bubble is Start without a network: for a synctest bubble, in which time passes at once.
func Bubble(t testing.TB, config cloud.Config) *Running {
	t.Helper()
	config.Port = 20_000 + int(ports.Add(1))
	encrypted, cluster, metadata, nmi := newPipes(), newPipes(), newPipes(), newPipes()
	running := run(t, config, cloud.Listeners{TLS: encrypted, Cluster: cluster, Metadata: metadata, NMI: nmi})
	running.Transport.DialContext = func(ctx context.Context, _, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		switch {
		case err != nil:
			return nil, err
		case address == cloud.MetadataAddress:
			return metadata.dial(ctx)
		case address == cloud.NMIAddress:
			return nmi.dial(ctx)
		case host == cloud.APIServer, host == cloud.TokenProxy:
			return cluster.dial(ctx)
		case strings.HasSuffix(host, ".azure.test"):
			return encrypted.dial(ctx)
		}
		t.Errorf("somebody asked for %s", address)
		return nil, fmt.Errorf("no such host: %s", host)
	}
	return running
}

// pipes is a listener without a network.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

// Accept implements [net.Listener].
func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

// Addr implements [net.Listener].
func (*pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p *pipes) dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
