package provider

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/strongroom/strongroom/provider/v1alpha1"
	"github.com/strongroom/strongroom/provider/volumes/v1"
)

// Mount only reads, so a call that a broken connection cut off, or that the
// provider answered with the code Unavailable, is made again.
const (
	maxTries = 3
	tryAgain = 200 * time.Millisecond // before the second try; doubled before the third
)

// unmountedTimeout bounds a call that nobody depends on.
const unmountedTimeout = 2 * time.Second

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
// connects anew when a provider restarts, or moves to another directory. A provider
// gets the tokens and versions that it announced a use for; one that announces
// nothing gets all tokens and no versions.
type Client struct {
	cfg ClientConfig
	// asking are the calls of Version that nobody waits for any longer.
	asking sync.WaitGroup

	mu     sync.Mutex
	links  map[string]*link
	closed bool
}

// NewClient returns a Client; it connects when it is first asked for a provider.
func NewClient(cfg ClientConfig) (*Client, error) {
	switch {
	case len(cfg.Dirs) == 0:
		return nil, errors.New("at least one provider directory is required")
	case slices.Contains(cfg.Dirs, ""):
		return nil, errors.New("the name of a provider directory is empty")
	case cfg.MaxResponse <= 0, cfg.Timeout <= 0, cfg.Concurrency <= 0:
		return nil, errors.New("limits of response size, time and concurrency must be positive")
	case cfg.Log == nil:
		return nil, errors.New("log is required")
	}
	return &Client{cfg: cfg, links: map[string]*link{}}, nil
}

// Mount asks the named provider for the files of a volume. Errors have a Kind.
func (c *Client) Mount(ctx context.Context, name string, req *Request) (*Response, error) {
	l, err := c.link(name)
	if err != nil {
		return nil, At(Connecting, err)
	}
	since := time.Now()
	ctx, cancel := context.WithDeadline(ctx, since.Add(c.cfg.Timeout))
	defer cancel()
	if err = l.calls.Acquire(ctx, 1); err != nil {
		return nil, Errorf(Timeout, "provider %q: %d calls are in flight and none ended in time", name, c.cfg.Concurrency)
	}
	defer l.calls.Release(1)
	answer, err := l.mount(ctx, since, req)
	if err != nil {
		return nil, err
	}
	resp, err := decodeResponse(answer)
	if err != nil {
		return nil, fmt.Errorf("provider %q: %w", name, err)
	}
	return resp, nil
}

// Unmounted tells the named provider that a volume is gone. It is best effort: it
// takes two seconds at most, and a provider that has no connection now, or no use for
// the call, is not told.
func (c *Client) Unmounted(ctx context.Context, name string, v VolumeID) {
	c.mu.Lock()
	l := c.links[name]
	c.mu.Unlock()
	if l == nil {
		return
	}
	s := l.borrow()
	if s == nil {
		return
	}
	defer l.giveBack(s)
	if s.deaf.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, unmountedTimeout)
	defer cancel()
	_, err := volumes.NewVolumesClient(s.conn).Unmounted(ctx, &volumes.UnmountedRequest{VolumeId: string(v)})
	switch {
	case status.Code(err) == codes.Unimplemented:
		s.deaf.Store(true)
	case err != nil:
		c.cfg.Log.LogAttrs(ctx, slog.LevelDebug, "provider did not take note of an unmount",
			slog.String("provider", name), slog.String("volume", string(v)), slog.String("err", fromStatus(err).Error()))
	}
}

// Close ends all connections, and with them the calls in flight.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	for _, l := range c.links {
		l.close()
	}
	clear(c.links)
	c.mu.Unlock()
	c.asking.Wait()
	return nil
}

// Up says of each provider that was called and has a socket whether somebody answers
// there.
func (c *Client) Up(ctx context.Context) map[string]bool {
	c.mu.Lock()
	names := slices.Collect(maps.Keys(c.links))
	c.mu.Unlock()
	up := map[string]bool{}
	for _, name := range names {
		if c.exists(name) {
			up[name] = c.answers(ctx, name)
		}
	}
	return up
}

// Silent lists the providers that were called and have a socket that nobody answers
// now, sorted. One that was removed has none.
func (c *Client) Silent(ctx context.Context) []string {
	up := c.Up(ctx)
	return slices.DeleteFunc(slices.Sorted(maps.Keys(up)), func(name string) bool { return up[name] })
}

func (c *Client) answers(ctx context.Context, name string) bool {
	for _, dir := range c.cfg.Dirs {
		if conn, err := dialSocket(ctx, socketPath(dir, name)); err == nil {
			return conn.Close() == nil
		}
	}
	return false
}

// spawn runs f beside the caller, for Close to wait for.
func (c *Client) spawn(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.asking.Go(f)
	}
}

// link returns the way to a provider. A name is a user's choice, a socket is an
// operator's: names without a socket are not remembered.
func (c *Client) link(name string) (*link, error) {
	if !validName(name) {
		return nil, Errorf(Invalid, "error connecting to provider %q: invalid provider name, want 1 to 30 letters, digits, - or _", name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch l := c.links[name]; {
	case c.closed:
		return nil, errClosed(name)
	case l != nil:
		return l, nil
	case !c.exists(name):
		return nil, c.notFound(name)
	}
	l := &link{
		client: c, name: name, calls: semaphore.NewWeighted(c.cfg.Concurrency),
		door: make(chan struct{}, 1), open: map[*session]struct{}{},
	}
	c.links[name] = l
	return l, nil
}

func errClosed(name string) error {
	return Errorf(Unavailable, "error connecting to provider %q: the driver is stopping", name)
}

// mount calls the provider until it answers something that another try would not
// better.
func (l *link) mount(ctx context.Context, since time.Time, req *Request) (*v1alpha1.MountResponse, error) {
	for try, wait := 1, tryAgain; ; try, wait = try+1, 2*wait {
		answer, again, err := l.mountOnce(ctx, since, req)
		if err == nil || !again || try == maxTries || !pause(ctx, wait) {
			return answer, err
		}
		since = time.Now()
	}
}

// mountOnce asks over one connection, and for what the provider at its end wants.
func (l *link) mountOnce(ctx context.Context, since time.Time, req *Request) (answer *v1alpha1.MountResponse, again bool, err error) {
	s, err := l.session(ctx, since)
	if err != nil {
		return nil, false, At(Connecting, err)
	}
	defer l.giveBack(s)
	wire, err := encodeRequest(s.announced(ctx).wanted(req))
	if err != nil {
		return nil, false, err
	}
	answer, err = v1alpha1.NewCSIDriverProviderClient(s.conn).Mount(ctx, wire)
	if err == nil {
		return answer, false, nil
	}
	if isOver(ctx) && !errors.Is(ctx.Err(), context.Canceled) {
		l.doubt(ctx, s)
	}
	failure := fromStatus(err)
	return nil, status.Code(err) == codes.Unavailable && failure.RetryAfter == 0, l.explain(ctx, failure)
}

// explain adds to an error of a call what an operator needs to act on it.
func (l *link) explain(ctx context.Context, err *Error) error {
	switch {
	case isOver(ctx):
		return At(err.Step, Errorf(Timeout, "provider %q did not answer in time: %w", l.name, err))
	case isOverLimit(err.Error()):
		return fmt.Errorf("provider %q: answer is over the driver's limit of %d bytes: mount less, or raise --max-call-recv-msg-size: %w",
			l.name, l.client.cfg.MaxResponse, err)
	}
	return fmt.Errorf("provider %q: %w", l.name, err)
}

// isOver says whether ctx has ended or is just about to: a provider that was told of
// the deadline may notice it a moment earlier.
func isOver(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && time.Until(deadline) < 50*time.Millisecond
}

// pause waits, and says whether ctx still holds.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
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
