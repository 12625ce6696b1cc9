package provider

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The bounds of connecting.
const (
	connectPatience = 5 * time.Second       // wait for a provider that is just restarting
	firstRetry      = 50 * time.Millisecond // after a round in which no socket answered
	maxRetry        = time.Second           // the wait doubles up to this
	greetTimeout    = 10 * time.Second      // an answer to Version within this counts for later mounts
	doubtTimeout    = 5 * time.Second       // Version of a provider that left a mount unanswered
)

// link is the way to one provider. It has one session at a time for new calls; a
// session that broke stays open for the calls that it still carries.
type link struct {
	client *Client
	name   string
	calls  *semaphore.Weighted
	// door is held by the one that connects. It is a lock that can be waited for
	// with a context.
	door chan struct{}

	mu      sync.Mutex
	current *session
	open    map[*session]struct{} // current, and those that are retired and not yet done
	failed  error                 // why the last connect did not work
	at      time.Time
	odd     string // the unknown protocol version that was last warned of
	closed  bool
}

// session returns a session that calls can use, and connects if there is none. The
// caller gives it back, and has been waiting since then: who waited for a try that
// failed does not try the same again.
func (l *link) session(ctx context.Context, since time.Time) (*session, error) {
	if s := l.borrow(); s != nil {
		return s, nil
	}
	select {
	case l.door <- struct{}{}:
	case <-ctx.Done():
		return nil, Errorf(Timeout, "error connecting to provider %q: still connecting: %w", l.name, ctx.Err())
	}
	defer func() { <-l.door }()
	if s := l.borrow(); s != nil {
		return s, nil
	}
	if err := l.failedSince(since); err != nil {
		return nil, err
	}
	s, err := l.connect(ctx)
	if err == nil {
		err = l.adopt(s)
	}
	if err != nil {
		l.fail(ctx, err)
		return nil, err
	}
	l.greet(ctx, s)
	return s, nil
}

// borrow returns the current session if it can carry a call.
func (l *link) borrow() *session {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current == nil {
		return nil
	}
	if !l.current.usable() {
		l.retire(l.current)
		return nil
	}
	l.current.calls++
	return l.current
}

// giveBack ends the use of a session; the last one closes it if it is retired.
func (l *link) giveBack(s *session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.calls--; s.calls == 0 && s != l.current {
		l.end(s)
	}
}

// retire lets no further call use s. The caller holds the lock.
func (l *link) retire(s *session) {
	if s != l.current {
		return
	}
	l.current = nil
	if s.calls == 0 {
		l.end(s)
	}
}

// end closes s. The caller holds the lock.
func (l *link) end(s *session) {
	delete(l.open, s)
	s.close()
}

// adopt makes s the session of this link, in use by the caller.
func (l *link) adopt(s *session) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		s.close()
		return errClosed(l.name)
	}
	l.open[s] = struct{}{}
	l.current, s.calls = s, 1
	return nil
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for s := range l.open {
		l.end(s)
	}
}

// fail remembers why connecting did not work, unless it was the caller that gave up.
func (l *link) fail(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed, l.at = err, time.Now()
}

func (l *link) failedSince(t time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.at.Before(t) {
		return nil
	}
	return l.failed
}

// connect tries all sockets, again and again for a little while: a provider may just
// be restarting. Without any socket it does not wait.
func (l *link) connect(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, connectPatience)
	defer cancel()
	for wait := firstRetry; ; wait = min(2*wait, maxRetry) {
		s, err := l.dial(ctx)
		switch {
		case err == nil:
			return s, nil
		case errors.Is(err, fs.ErrNotExist):
			return nil, l.client.notFound(l.name)
		case !pause(ctx, wait):
			return nil, Errorf(Unavailable, "error connecting to provider %q: no socket answers, is the provider running on this node? %w", l.name, err)
		}
	}
}

// dial connects to the first socket that answers: a dead file in one directory does
// not hide a living provider in another. The error is [fs.ErrNotExist] if there is
// no socket at all.
func (l *link) dial(ctx context.Context) (*session, error) {
	var errs []string
	for _, dir := range l.client.cfg.Dirs {
		s, err := open(ctx, l.name, socketPath(dir, l.name), l.client.cfg.MaxResponse)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err.Error())
		}
	}
	if len(errs) == 0 {
		return nil, fs.ErrNotExist
	}
	return nil, errors.New(strings.Join(errs, "; ")) // in one line, for an event
}

// greet asks the provider for what it announces, and does not wait for the answer.
func (l *link) greet(ctx context.Context, s *session) {
	ctx = context.WithoutCancel(ctx)
	l.client.spawn(func() {
		defer close(s.greeted)
		if err := l.ask(ctx, s, greetTimeout); err != nil {
			l.client.cfg.Log.LogAttrs(ctx, slog.LevelDebug, "provider announces nothing",
				slog.String("provider", l.name), slog.String("err", err.Error()))
		}
	})
}

// ask calls Version and takes note of the answer.
func (l *link) ask(ctx context.Context, s *session, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	version, err := s.greet(ctx)
	if err != nil {
		return fmt.Errorf("ask provider %q for its version: %w", l.name, err)
	}
	if version != protocolVersion && l.isNews(version) {
		l.client.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "provider speaks an unknown version of the protocol",
			slog.String("provider", l.name), slog.String("version", clip(version, 100)), slog.String("known", protocolVersion))
	}
	return nil
}

func (l *link) isNews(version string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := l.odd != version
	l.odd = version
	return news
}

// doubt looks at a session on which a mount got no answer. If the provider does not
// answer Version either, new calls connect again: they may find its successor.
func (l *link) doubt(ctx context.Context, s *session) {
	if !s.doubted.CompareAndSwap(false, true) {
		return
	}
	ctx = context.WithoutCancel(ctx)
	l.client.spawn(func() {
		defer s.doubted.Store(false)
		if status.Code(l.ask(ctx, s, doubtTimeout)) == codes.DeadlineExceeded {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.retire(s)
		}
	})
}
