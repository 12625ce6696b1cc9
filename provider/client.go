package provider

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/strongroom/strongroom/provider/v1alpha1"
)

// The client's bounds.
const (
	dialTimeout      = 3 * time.Second // one connect to one socket
	connectPatience  = 5 * time.Second // wait for a provider that is just restarting
	maxReconnectWait = 2 * time.Second // between two connects
)

// retryPolicy repeats a call that a broken connection cut off; Mount only reads,
// so a repeat is harmless.
const retryPolicy = `{"methodConfig":[{"name":[{"service":"v1alpha1.CSIDriverProvider"}],"retryPolicy":` +
	`{"maxAttempts":3,"initialBackoff":"0.2s","maxBackoff":"2s","backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}}]}`

// ClientConfig configures the driver's end of the wire.
type ClientConfig struct {
	// Dirs are searched in this order for NAME.sock.
	Dirs []string
	// MaxResponse bounds one answer, in bytes.
	MaxResponse int
	// Timeout bounds one Mount call; it should be below kubelet's 2 minutes.
	Timeout time.Duration
	// Concurrency bounds the calls in flight to one provider.
	Concurrency int64
	Log         *slog.Logger
}

// Client calls providers by their names. It keeps one connection for each and
// connects anew when a provider restarts, or moves to another directory.
type Client struct {
	cfg   ClientConfig
	mu    sync.Mutex
	links map[string]*link
}

// link is the way to one provider.
type link struct {
	conn  *grpc.ClientConn
	calls *semaphore.Weighted

	mu      sync.Mutex
	dialErr error // why the last connect failed
}

// NewClient returns a Client; it connects when it is first asked for a provider.
func NewClient(cfg ClientConfig) (*Client, error) {
	switch {
	case len(cfg.Dirs) == 0:
		return nil, errors.New("at least one provider directory is required")
	case cfg.MaxResponse <= 0, cfg.Timeout <= 0, cfg.Concurrency <= 0:
		return nil, errors.New("limits of response size, time and concurrency must be positive")
	case cfg.Log == nil:
		return nil, errors.New("log is required")
	}
	return &Client{cfg: cfg, links: map[string]*link{}}, nil
}

// Mount asks the named provider for the files of a volume. Errors have a Kind.
func (c *Client) Mount(ctx context.Context, name string, req *Request) (*Response, error) {
	wire, err := encodeRequest(req)
	if err != nil {
		return nil, err
	}
	l, err := c.link(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	if err = l.calls.Acquire(ctx, 1); err != nil {
		return nil, Errorf(Timeout, "provider %q: %d calls are in flight and none ended in time", name, c.cfg.Concurrency)
	}
	defer l.calls.Release(1)
	if err = c.ready(ctx, name, l); err != nil {
		return nil, err
	}
	answer, err := v1alpha1.NewCSIDriverProviderClient(l.conn).Mount(ctx, wire)
	if err != nil {
		return nil, c.explain(ctx, name, fromStatus(err))
	}
	resp, err := decodeResponse(answer)
	if err != nil {
		return nil, fmt.Errorf("provider %q: %w", name, err)
	}
	return resp, nil
}

// explain adds to an error what an operator needs to act on it.
func (c *Client) explain(ctx context.Context, name string, err error) error {
	switch {
	case isOverLimit(err.Error()):
		return fmt.Errorf("provider %q: answer is over the driver's limit of %d bytes: mount less, or raise --max-call-recv-msg-size: %w",
			name, c.cfg.MaxResponse, err)
	case ctx.Err() != nil:
		return Errorf(Timeout, "provider %q did not answer in time: %w", name, err)
	}
	return fmt.Errorf("provider %q: %w", name, err)
}

// Close ends all connections.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	errs := make([]error, 0, len(c.links))
	for _, l := range c.links {
		errs = append(errs, l.conn.Close())
	}
	clear(c.links)
	return errors.Join(errs...)
}

func (c *Client) link(name string) (*link, error) {
	if !validName(name) {
		return nil, Errorf(Invalid, "error connecting to provider %q: invalid provider name, want 1 to 30 letters, digits, - or _", name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.links[name]; l != nil {
		return l, nil
	}
	if !c.exists(name) { // not remembered: a name is a user's choice, a socket is an operator's
		return nil, c.notFound(name)
	}
	l := &link{calls: semaphore.NewWeighted(c.cfg.Concurrency)}
	conn, err := grpc.NewClient("passthrough:///"+name,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithAuthority("localhost"), // providers check it (driver-contract 2.3)
		grpc.WithDefaultServiceConfig(retryPolicy),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(c.cfg.MaxResponse)),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: maxReconnectWait},
			MinConnectTimeout: dialTimeout,
		}),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return c.dial(ctx, name, l) }),
	)
	if err != nil {
		return nil, Errorf(Internal, "error connecting to provider %q: %w", name, err)
	}
	l.conn = conn
	c.links[name] = l
	return l, nil
}

// ready waits a little for a connection, and says why if there is none.
func (c *Client) ready(ctx context.Context, name string, l *link) error {
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	for {
		state := l.conn.GetState()
		switch {
		case state == connectivity.Ready:
			return nil
		case state == connectivity.Idle:
			l.conn.Connect()
		case state == connectivity.TransientFailure && !c.exists(name):
			return c.notFound(name)
		}
		if !l.conn.WaitForStateChange(ctx, state) {
			return Errorf(Unavailable, "error connecting to provider %q: no socket answers, is the provider running on this node? %w", name, l.lastDial())
		}
	}
}

func (l *link) lastDial() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dialErr == nil {
		return errors.New("still connecting")
	}
	return l.dialErr
}

// dial connects to the first socket that answers: a dead file in one directory
// does not hide a living provider in another.
func (c *Client) dial(ctx context.Context, name string, l *link) (net.Conn, error) {
	var errs []error
	for _, dir := range c.cfg.Dirs {
		conn, err := dialSocket(ctx, socketPath(dir, name))
		if err == nil {
			return conn, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	err := errors.Join(errs...)
	if err == nil {
		err = c.notFound(name)
	}
	l.mu.Lock()
	l.dialErr = err
	l.mu.Unlock()
	return nil, err
}

func dialSocket(ctx context.Context, path string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	return dialer.DialContext(ctx, "unix", path)
}

func (c *Client) exists(name string) bool {
	for _, dir := range c.cfg.Dirs {
		if _, err := os.Stat(socketPath(dir, name)); err == nil {
			return true
		}
	}
	return false
}

func (c *Client) notFound(name string) error {
	return Errorf(Unavailable, "error connecting to provider %q: provider not found: there is no %s.sock in %s; "+
		"is the provider installed, and does it run on this node?", name, name, strings.Join(c.cfg.Dirs, " or "))
}

func socketPath(dir, name string) string { return filepath.Join(dir, name+".sock") }

var nameForm = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,30}$`)

func validName(name string) bool { return nameForm.MatchString(name) }
