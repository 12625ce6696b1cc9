package stand

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// ScriptedName is the name of the scripted provider in a class.
const ScriptedName = "e2e-provider"

// Provider is a running scripted provider.
type Provider struct {
	*process

	control string
}

// StartProvider starts the scripted provider on a node, and waits until it answers.
func StartProvider(ctx context.Context, binary string, n Node) (*Provider, error) {
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	p, err := n.start([]string{
		binary, "--endpoint=" + n.ProviderSocket(ScriptedName), "--control-addr=" + addr, "--health-addr=", "--log-level=off",
	}, filepath.Join(n.Dir, "provider.log"))
	if err != nil {
		return nil, err
	}
	s := &Provider{process: p, control: "http://" + addr}
	err = s.until(ctx, func(ctx context.Context) error {
		if _, missing := os.Stat(n.ProviderSocket(ScriptedName)); missing != nil {
			return missing
		}
		_, silent := s.Calls(ctx)
		return silent
	})
	if err != nil {
		_ = s.Kill()
		return nil, fmt.Errorf("wait for the provider: %w", err)
	}
	return s, nil
}

// Store is a running provider of a store.
type Store struct{ *process }

// StartStore starts the provider of a store, and waits for its socket.
func (n Node) StartStore(ctx context.Context, name, binary string, flags ...string) (*Store, error) {
	args := append([]string{binary, "--endpoint=" + n.ProviderSocket(name), "--log-level=warn"}, flags...)
	p, err := n.start(args, filepath.Join(n.Dir, "provider-"+name+".log"))
	if err != nil {
		return nil, err
	}
	err = p.until(ctx, func(ctx context.Context) error {
		var dialer net.Dialer
		conn, silent := dialer.DialContext(ctx, "unix", n.ProviderSocket(name))
		if silent != nil {
			return silent
		}
		return conn.Close()
	})
	if err != nil {
		_ = p.Kill()
		return nil, fmt.Errorf("wait for provider %s: %w", name, err)
	}
	return &Store{p}, nil
}

// ProviderSocket is the path of a provider's socket.
func (n Node) ProviderSocket(name string) string { return filepath.Join(n.providers(), name+".sock") }

func freeAddr(ctx context.Context) (string, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// Calls counts the calls that the provider had.
func (p *Provider) Calls(ctx context.Context) (int, error) {
	body, err := p.Tell(ctx, http.MethodGet, "/calls")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(body))
}

// Tell tells the provider what to do, as its control knows it.
func (p *Provider) Tell(ctx context.Context, method, path string) (string, error) {
	return Page(ctx, method, p.control+path)
}

// Put gives the provider an object.
func (p *Provider) Put(ctx context.Context, name, contents string) error {
	return p.PutVersion(ctx, name, "v1", contents)
}

// PutVersion gives the provider an object in a version.
func (p *Provider) PutVersion(ctx context.Context, name, version, contents string) error {
	query := url.Values{"name": {name}, "version": {version}}
	_, err := ask(ctx, http.MethodPut, p.control+"/object?"+query.Encode(), contents)
	return err
}

// Page returns what an address serves.
func Page(ctx context.Context, method, url string) (string, error) {
	return ask(ctx, method, url, "")
}

func ask(ctx context.Context, method, url, body string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", url, err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("ask %s: %w", url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask %s: %s: %s", url, resp.Status, data)
	}
	return string(data), nil
}
