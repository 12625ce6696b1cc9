package cloudtest

import (
	"context"
	"net"
	"net/http"
	"testing"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
)

// Running is a cloud that answers on loopback until the end of the test.
type Running struct {
	*cloud.Cloud
	// Transport reaches it, and nothing else.
	Transport *http.Transport
	Addresses cloud.Addresses
}

// Client is an HTTP client for it.
func (r *Running) Client() *http.Client { return &http.Client{Transport: r.Transport} }

// Start runs a cloud. The names of its hosts end in .test unless config says otherwise.
// The test fails if it ends with violations.
func Start(t testing.TB, config cloud.Config) *Running {
	t.Helper()
	listeners := cloud.Listeners{TLS: listen(t), Cluster: listen(t), Metadata: listen(t), NMI: listen(t)}
	if config.Port == 0 {
		address, ok := listeners.TLS.Addr().(*net.TCPAddr)
		if !ok {
			t.Fatalf("listener on %v instead of TCP", listeners.TLS.Addr())
		}
		config.Port = address.Port
	}
	return run(t, config, listeners)
}

func run(t testing.TB, config cloud.Config, listeners cloud.Listeners) *Running {
	t.Helper()
	if config.Login == "" {
		config.Login = "login.azure.test"
	}
	if config.Suffix == "" {
		config.Suffix = "vault.azure.test"
	}
	azure, err := cloud.New(config)
	if err != nil {
		t.Fatal(err)
	}
	addresses := cloud.Addresses{
		TLS: listeners.TLS.Addr().String(), Cluster: listeners.Cluster.Addr().String(),
		Metadata: listeners.Metadata.Addr().String(), NMI: listeners.NMI.Addr().String(),
	}
	transport, err := azure.Transport(addresses)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- azure.Serve(ctx, listeners) }()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		for _, violation := range azure.Violations() {
			t.Error("violation:", violation)
		}
	})
	return &Running{Cloud: azure, Transport: transport, Addresses: addresses}
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}
