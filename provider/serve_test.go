package provider_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/providertest"
)

const canary = "c4n4ry-v4lue"

// mountFunc is a provider made of its Mount.
type mountFunc func(context.Context, *provider.Request) (*provider.Response, error)

func (f mountFunc) Mount(ctx context.Context, req *provider.Request) (*provider.Response, error) {
	return f(ctx, req)
}

func answer(contents string) mountFunc {
	return func(context.Context, *provider.Request) (*provider.Response, error) {
		return &provider.Response{
			Files:    []provider.File{{Path: "a", Contents: []byte(contents)}},
			Versions: []provider.Version{{ID: "a", Version: "1"}},
		}, nil
	}
}

// serve runs p on dir/acme.sock until stop is called or the test ends.
func serve(t *testing.T, dir string, p provider.Provider, more ...func(*provider.Config)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cfg := provider.Config{
		Name: "acme", Endpoint: filepath.Join(dir, "acme.sock"), SocketGID: -1, Log: slog.New(slog.DiscardHandler),
		Open: func(context.Context, *slog.Logger) (provider.Provider, error) { return p, nil },
	}
	for _, m := range more {
		m(&cfg)
	}
	done := make(chan error, 1)
	go func() { done <- provider.Serve(ctx, cfg) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	t.Cleanup(stop)
	eventually(t, func() error { return dial(cfg.Endpoint) })
	return stop
}

func dial(path string) error {
	conn, err := (&net.Dialer{}).DialContext(context.Background(), "unix", path)
	if err == nil {
		err = conn.Close()
	}
	return err
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("not in 30 s: %v", err)
}

func client(t *testing.T, dirs ...string) *provider.Client {
	t.Helper()
	return clientWith(t, func(cfg *provider.ClientConfig) { cfg.Dirs = dirs })
}

func clientWith(t *testing.T, change func(*provider.ClientConfig)) *provider.Client {
	t.Helper()
	cfg := provider.ClientConfig{MaxResponse: 1 << 20, Timeout: 20 * time.Second, Concurrency: 8, Log: slog.New(slog.DiscardHandler)}
	change(&cfg)
	c, err := provider.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func debugLog(b *providertest.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func ask(c *provider.Client, name string) (string, error) {
	resp, err := c.Mount(context.Background(), name, &provider.Request{Mode: 0o644, Tokens: provider.Tokens{"a": {Value: canary}}})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%s %v", resp.Files[0].Contents, resp.Files[0].Mode), nil
}

// asked asks acme and says so if the answer does not begin as wanted.
func asked(c *provider.Client, want string) error {
	got, err := ask(c, "acme")
	if err == nil && !strings.HasPrefix(got, want) {
		err = fmt.Errorf("got %q, want %q", got, want)
	}
	return err
}

func TestMountOverSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	serve(t, dir, answer("one"))
	if got, err := ask(client(t, t.TempDir(), dir), "acme"); err != nil || got != "one -rw-r--r--" {
		t.Errorf("%q, %v", got, err)
	}
}

// failing answers as the parameter "do" says.
func failing(ctx context.Context, req *provider.Request) (*provider.Response, error) {
	switch name := req.Parameters["do"]; name {
	case "panic":
		panic(canary)
	case "nil":
		return nil, nil
	case "large":
		return answer(strings.Repeat("x", 2<<20))(ctx, req)
	case "path":
		return &provider.Response{Files: []provider.File{{Path: "../x"}}, Versions: []provider.Version{{}}}, nil
	case "plain":
		return nil, errors.New("plain " + strings.Repeat("y", 1<<20))
	case "throttled":
		return nil, &provider.Error{Kind: provider.Throttled, RetryAfter: 7 * time.Second, Err: errors.New("slow down")}
	case "fine":
		return answer("fine")(ctx, req)
	default:
		return nil, fmt.Errorf("wrapped: %w", provider.Errorf(provider.KindNamed(name), "as told"))
	}
}

// startFailing returns a function that asks the failing provider over its socket.
func startFailing(t *testing.T, log *providertest.Buffer) func(do string) error {
	t.Helper()
	dir := t.TempDir()
	serve(t, dir, mountFunc(failing), func(c *provider.Config) { c.Log = slog.New(slog.NewTextHandler(log, nil)) })
	c := client(t, dir)
	return func(do string) error {
		_, err := c.Mount(context.Background(), "acme", &provider.Request{Mode: 0o644, Parameters: map[string]string{"do": do}})
		return err
	}
}

func TestKindsOverSocket(t *testing.T) {
	t.Parallel()
	mount := startFailing(t, &providertest.Buffer{})
	for k := provider.Unknown; k <= provider.Internal; k++ {
		if err := mount(k.String()); provider.KindOf(err) != k || !strings.Contains(err.Error(), `provider "acme": wrapped: as told`) {
			t.Errorf("kind %v became %v: %v", k, provider.KindOf(err), err)
		}
	}
	if e, ok := errors.AsType[*provider.Error](mount("throttled")); !ok || e.RetryAfter != 7*time.Second {
		t.Errorf("retry after %+v", e)
	}
}

func TestErrorsOverSocket(t *testing.T) {
	t.Parallel()
	log := &providertest.Buffer{}
	mount := startFailing(t, log)
	for do, want := range map[string]provider.Kind{
		"panic": provider.Internal, "nil": provider.Internal, "large": provider.TooLarge,
		"path": provider.Invalid, "plain": provider.Unknown, "throttled": provider.Throttled,
	} {
		err := mount(do)
		if err == nil || provider.KindOf(err) != want {
			t.Fatalf("%s: %v (%v), want %v", do, err, provider.KindOf(err), want)
		}
		if len(err.Error()) > 5000 {
			t.Errorf("%s: the error has %d bytes", do, len(err.Error()))
		}
	}
	if err := mount("fine"); err != nil {
		t.Errorf("after all that: %v", err)
	}
	if strings.Contains(log.String(), canary) {
		t.Error("the log shows what a panic said")
	}
}

// leaveDead leaves a socket of acme that nobody listens to.
func leaveDead(t *testing.T, dir string) {
	t.Helper()
	dead, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", filepath.Join(dir, "acme.sock"))
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestProviderComesGoesAndMoves(t *testing.T) {
	t.Parallel()
	legacy, dir := t.TempDir(), t.TempDir()
	c := client(t, legacy, dir)
	_, err := ask(c, "acme")
	if err == nil || !strings.Contains(err.Error(), `error connecting to provider "acme": provider not found`) {
		t.Fatalf("without a provider: %v", err)
	}
	// A dead socket in the directory that is searched first hides nothing.
	leaveDead(t, legacy)
	for i, where := range []string{dir, dir, legacy, dir} {
		stop := serve(t, where, answer(fmt.Sprint(i)))
		eventually(t, func() error { // a try may still meet the connection that just broke
			return asked(c, fmt.Sprint(i))
		})
		if got := c.Silent(t.Context()); len(got) > 0 {
			t.Errorf("silent: %q", got)
		}
		stop()
	}
	leaveDead(t, legacy)
	if got := c.Silent(t.Context()); !slices.Equal(got, []string{"acme"}) {
		t.Errorf("silent: %q", got)
	}
	if _, err = ask(c, "acme"); err == nil || provider.KindOf(err) != provider.Unavailable {
		t.Errorf("after the provider has gone: %v (%v)", err, provider.KindOf(err))
	}
}

func TestDeadlineAndCancel(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	hang := mountFunc(func(ctx context.Context, _ *provider.Request) (*provider.Response, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	serve(t, dir, hang)
	c := client(t, dir)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_, err := c.Mount(ctx, "acme", &provider.Request{Mode: 0o644})
	if provider.KindOf(err) != provider.Timeout || !strings.Contains(err.Error(), "did not answer in time") {
		t.Errorf("%v (%v)", err, provider.KindOf(err))
	}
}

func TestBadNames(t *testing.T) {
	t.Parallel()
	c := client(t, t.TempDir())
	for _, name := range []string{"", "../x", "a/b", "a b", strings.Repeat("a", 31)} {
		if _, err := ask(c, name); provider.KindOf(err) != provider.Invalid {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestSocket(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "acme.sock")
	gid := func(c *provider.Config) { c.SocketGID = os.Getgid() }
	stop := serve(t, dir, answer("1"))
	eventually(t, func() error { return checkMode(path, 0o600) })
	serve(t, dir, answer("2"), gid) // a successor takes over
	eventually(t, func() error { return checkMode(path, 0o660) })
	stop()
	if got, err := ask(client(t, dir), "acme"); err != nil || !strings.HasPrefix(got, "2") {
		t.Errorf("after the first stopped: %q, %v", got, err)
	}
	if err := os.Mkdir(filepath.Join(dir, "x.sock"), 0o700); err != nil {
		t.Fatal(err)
	}
	err := provider.Serve(context.Background(), provider.Config{
		Name: "x", Endpoint: filepath.Join(dir, "x.sock"), SocketGID: -1, Log: slog.New(slog.DiscardHandler),
		Open: func(context.Context, *slog.Logger) (provider.Provider, error) { return answer(""), nil },
	})
	if err == nil || !strings.Contains(err.Error(), "a directory is in the way") {
		t.Errorf("%v", err)
	}
}

func checkMode(path string, want fs.FileMode) error {
	info, err := os.Lstat(path)
	if err == nil && info.Mode().Perm() != want {
		err = fmt.Errorf("mode %v, want %v", info.Mode(), want)
	}
	return err
}

func TestHealthAndMetrics(t *testing.T) {
	t.Parallel()
	addr, dir := freeAddr(t), t.TempDir()
	serve(t, dir, answer("1"), func(c *provider.Config) { c.HealthAddr = addr })
	if _, err := ask(client(t, dir), "acme"); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return get("http://"+addr+"/health/ready", "") })
	if err := get("http://"+addr+"/metrics", `strongroom_build_info{commit="`+provider.BuildSetting("vcs.revision")+`",goversion="`); err != nil {
		t.Error(err)
	}
	if err := get("http://"+addr+"/metrics", `strongroom_provider_mount_duration_seconds_count{kind="OK",provider="acme"} 1`); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filepath.Join(dir, "acme.sock")); err != nil {
		t.Fatal(err)
	}
	if err := get("http://"+addr+"/health/ready", ""); err == nil {
		t.Error("ready although the socket is gone")
	}
}

// freeAddr is an address that nobody listens at.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

func get(url, want string) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || !strings.Contains(body.String(), want) {
		return fmt.Errorf("%s: %s %.2000s", url, resp.Status, body.String())
	}
	return nil
}
