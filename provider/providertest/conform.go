package providertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// Suite tells [Conform] about a provider. Its requests must have the answers that
// their field says whenever they are asked, in any order and side by side, and the
// store must not change by itself.
type Suite struct {
	// Open makes the provider. It is called anew for each check.
	Open provider.OpenFunc
	// Good requests succeed. What they are answered is the same every time.
	Good map[string]*provider.Request
	// Bad requests fail with the kind Invalid: the class is wrong.
	Bad map[string]*provider.Request
	// Missing requests name, beside objects that exist, one that does not: they fail
	// with the kind NotFound or Denied.
	Missing map[string]*provider.Request
	// Canaries are values of the store, and all else that must not be seen in a log
	// line, an error or a version: credentials of the provider, session tokens. The
	// tokens and secrets of the requests are canaries without being named.
	Canaries []string
	// The hooks may be nil, and the checks that need them are then skipped. Each does
	// what its name says to the backend, or to the provider, and returns what undoes
	// it. The requests that follow are good ones.
	//
	// Break makes the backend fail for a while, by answers or by broken connections.
	Break func() (mend func())
	// Hang makes the backend take calls and not answer them.
	Hang func() (mend func())
	// Panic makes the provider panic within Mount, with a canary in the panic's value
	// if it can be.
	Panic func() (mend func())
}

// Conform checks that a provider keeps the promises of [provider.Provider]. It runs
// the provider on a socket and asks it as the driver does; each check is a subtest.
// Run it with the race detector, which is the best judge of some promises.
func Conform(t *testing.T, s Suite) {
	t.Helper()
	if err := s.check(); err != nil {
		t.Fatal(err)
	}
	for _, c := range checks() {
		t.Run(c.name, func(t *testing.T) {
			err := s.run(t.Context(), c)
			if errors.Is(err, errNoHook) {
				t.Skip(err)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func (s *Suite) check() error {
	switch {
	case s.Open == nil:
		return errors.New("conform: Open is required")
	case len(s.Good) == 0:
		return errors.New("conform: at least one good request is required")
	}
	for _, canary := range s.Canaries {
		if len(canary) < minValue {
			return fmt.Errorf("conform: a canary has less than %d bytes, and would be found by chance", minValue)
		}
	}
	return nil
}

// check is one thing that can be wrong with a provider.
type check struct {
	name string
	run  func(s *subject, ctx context.Context) error
}

func checks() []check {
	return []check{
		{"good requests are answered", (*subject).checkGood},
		{"versions name states and reveal nothing", (*subject).checkVersions},
		{"equal answers side by side", (*subject).checkConcurrency},
		{"answers do not change later", (*subject).checkKept},
		{"bad classes are invalid", (*subject).checkBad},
		{"all or nothing", (*subject).checkMissing},
		{"odd parameters do no harm", (*subject).checkOdd},
		{"an ended call returns", (*subject).checkEnded},
		{"a hanging backend", (*subject).checkHang},
		{"a broken backend", (*subject).checkBreak},
		{"a panic", (*subject).checkPanic},
		{"answers over the limit", (*subject).checkOversize},
		{"announcements", (*subject).checkAnnouncements},
		{"unmounted", (*subject).checkUnmounted},
	}
}

// errNoHook says that a check cannot be made.
var errNoHook = errors.New("the suite has no hook for this")

// run makes one check with a provider of its own. Whatever the check is about, no
// secret may have been shown meanwhile.
func (s *Suite) run(ctx context.Context, c check) (err error) {
	dir, err := os.MkdirTemp("", "conform") // short: the path of a socket has 107 bytes at most
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	sub := &subject{Suite: s, dir: dir, log: &record{}, errors: &record{}}
	stop, err := sub.start(ctx)
	if err != nil {
		return err
	}
	err = c.run(sub, ctx)
	return errors.Join(err, stop(), sub.leaks())
}

// subject is a provider that is being checked.
type subject struct {
	*Suite

	dir    string
	client *provider.Client
	tap    *tap
	log    *record // at the most verbose level
	errors *record // the texts of all errors
}

// subjectName is the provider's name while it is checked.
const subjectName = "conform"

// callTimeout bounds a call that is not meant to be cut off.
const callTimeout = 30 * time.Second

func (s *subject) start(ctx context.Context) (stop func() error, err error) {
	if s.client, err = s.connect(4 << 20); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.Level(-1000)}))
	if err = s.open(ctx, log); err != nil {
		cancel()
		return nil, err
	}
	done := make(chan error, 1)
	socket := filepath.Join(s.dir, subjectName+".sock")
	go func() {
		done <- provider.Serve(ctx, provider.Config{
			Name: subjectName, Endpoint: socket, SocketGID: -1, Log: log,
			Open: func(context.Context, *slog.Logger) (provider.Provider, error) { return s.tap, nil },
		})
	}()
	for _, err = os.Lstat(socket); err != nil; _, err = os.Lstat(socket) {
		select {
		case err = <-done:
			cancel()
			return nil, fmt.Errorf("serve the provider: %w", err)
		case <-time.After(time.Millisecond):
		}
	}
	return func() error {
		cancel()
		return errors.Join(<-done, s.client.Close())
	}, nil
}

func (s *subject) open(ctx context.Context, log *slog.Logger) error {
	p, err := s.Open(ctx, log)
	if err == nil && p == nil {
		err = errors.New("there is no provider")
	}
	s.tap = &tap{provider: p}
	if err != nil {
		return fmt.Errorf("open the provider: %w", err)
	}
	return nil
}

func (s *subject) connect(maxResponse int) (*provider.Client, error) {
	return provider.NewClient(provider.ClientConfig{
		Dirs: []string{s.dir}, MaxResponse: maxResponse, Timeout: callTimeout, Concurrency: 64, Log: slog.New(slog.DiscardHandler),
	})
}

// mount asks as the driver does, and keeps the text of the error.
func (s *subject) mount(ctx context.Context, req *provider.Request) (*provider.Response, error) {
	resp, err := s.client.Mount(ctx, subjectName, req)
	s.note(err)
	return resp, err
}

func (s *subject) note(err error) {
	if err != nil {
		_, _ = s.errors.Write([]byte(err.Error() + "\n"))
	}
}
