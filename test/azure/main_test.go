package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
)

// What a script waits for and reads: two files, and then answers.
func TestRun(t *testing.T) {
	folder := t.TempDir()
	state := filepath.Join(folder, "state.json")
	socket := filepath.Join(folder, "control.sock")
	text := `{"tenants": [{"id": "adfs"}], "vaults": [{"name": "shop", "tenant": "adfs",
		"objects": {"secrets": {"db": {"versions": [{"content": {"value": "hunter2"}}]}}}}]}`
	if err := os.WriteFile(state, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, options{
			config: cloud.Config{Login: "login.test", Suffix: "vault.test"}, listen: "127.0.0.1:0", state: state, out: folder, control: socket,
			metadata: "127.0.0.1:0", cluster: "127.0.0.1:0", nmi: "127.0.0.1:0",
		})
	}()
	for _, name := range []string{"ca.pem", "cluster.pem", "stack.json"} {
		await(t, filepath.Join(folder, name))
	}
	if answer := ask(t, socket, "/violations"); answer != "[]\n" {
		t.Errorf("the control socket answered %q", answer)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// ask asks the control socket.
func ask(t *testing.T, socket, path string) string {
	t.Helper()
	var dialer net.Dialer
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://azure"+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // only read
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func await(t *testing.T, file string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	for {
		select {
		case <-tick.C:
			if _, err := os.Stat(file); err == nil {
				return
			}
		case <-deadline:
			t.Fatalf("no %s after a minute", file)
		}
	}
}

func TestRunRefuses(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(bad, []byte(`{"vaults": [{"objects": {"things": {}}}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var config net.ListenConfig
	taken, err := config.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := taken.Close(); err != nil {
			t.Error(err)
		}
	})
	names := cloud.Config{Login: "login.test", Suffix: "vault.test"}
	for name, o := range map[string]options{
		"a port that is taken":          {config: names, listen: taken.Addr().String()},
		"a state that is not there":     {config: names, listen: "127.0.0.1:0", state: "/nonexistent"},
		"a state with unknown kinds":    {config: names, listen: "127.0.0.1:0", state: bad},
		"an authority below the vaults": {config: cloud.Config{Login: "a.vault.test", Suffix: "vault.test"}, listen: "127.0.0.1:0"},
	} {
		o.out = t.TempDir()
		if err := run(t.Context(), o); err == nil {
			t.Errorf("runs with %s", name)
		}
	}
}
