package vault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/coalesce"
	"github.com/strongroom/strongroom/provider/recall"
)

const (
	// A session in which Vault denied this many logins within denialWindow is not
	// tried again before that is over.
	maxDenials   = 3
	denialWindow = 10 * time.Second
	// How long after a login that did not help against a 403 another one is tried
	// without asking first whether the token is still valid.
	firstRelogin = time.Minute
	mostRelogin  = 10 * time.Minute
)

// session is one identity at one Vault. What has no lock of its own is guarded by
// Provider.mu.
type session struct {
	p        *Provider
	identity identity
	conn     *conn
	logins   coalesce.Calls[struct{}, *token]
	reads    coalesce.Calls[vaultclass.Read, *reply]

	current *token
	scoped  bool // a login has shown that the session can be shared
	users   int  // mounts under way
	volumes map[provider.VolumeID]struct{}
	used    time.Time

	denials []time.Time
	denial  error
	relogin struct {
		token *token // the last that did not help
		at    time.Time
		wait  time.Duration
	}

	last  *recall.Shelf[vaultclass.Read, *reply] // for staleIfError
	first map[vaultclass.Read]first
}

// acquire returns a token to make a request with; release follows. It logs in if
// need be. Not is a token that Vault has refused.
func (s *session) acquire(ctx context.Context, m *mount, not *token) (*token, error) {
	select {
	case m.gate <- struct{}{}: // one at a time: not every login gives a token for many reads
		defer func() { <-m.gate }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for ctx.Err() == nil {
		if t := s.take(m, not); t != nil {
			return t, nil
		}
		if err := s.denied(); err != nil {
			return nil, err
		}
		t, own, err := s.enter(ctx, m.caller, not)
		switch {
		case err == nil && t != not && s.p.hold(t):
			m.own(t)
			return t, nil
		case err == nil: // it was revoked at once, since the last volume has gone; or another mount has only renewed it
		case own || provider.KindOf(err) != provider.Denied:
			return nil, err
		default: // another pod's token was refused: that says little about this one's
		}
	}
	return nil, ctx.Err()
}

// enter logs in, or waits for the login of another mount; own says which.
func (s *session) enter(ctx context.Context, c *caller, not *token) (t *token, own bool, err error) {
	var notBefore time.Time
	if not != nil {
		notBefore = not.began.Add(1) // a login that gave another token
	}
	return s.logins.Do(ctx, struct{}{}, notBefore, func(ctx context.Context) (*token, bool, error) {
		t, err := s.authenticate(ctx, c, not)
		return t, err == nil && t.shared(s.p), err
	})
}

// take returns a token that can be used as it is.
func (s *session) take(m *mount, not *token) *token {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	now := time.Now()
	if t := m.private; t != nil && t != not && t.spendable() && !t.over(now) {
		t.use()
		return t
	}
	t := s.current
	if t == nil || t == not || t.over(now) || t.aged(now) {
		return nil
	}
	t.use()
	return t
}

// shared says whether a token is for more than the mount that logged in.
func (t *token) shared(p *Provider) bool { return t.uses < 0 && p.cacheSize > 0 }

// authenticate renews the token of the session, or makes it a new one. While Vault does
// neither, the one that it has is used until its end.
func (s *session) authenticate(ctx context.Context, c *caller, not *token) (*token, error) {
	s.p.mu.Lock()
	t, now := s.current, time.Now()
	if t == not || t != nil && t.over(now) {
		t = nil
	}
	fresh, renewable := t != nil && !t.aged(now), t != nil && t.extends()
	s.p.mu.Unlock()
	switch {
	case fresh:
		return t, nil
	case t == nil:
		return s.logIn(ctx, c)
	}
	next, err := s.succeed(ctx, c, t, renewable)
	if isOutage(err) && s.p.postpone(t) {
		return t, nil
	}
	return next, err
}

// succeed renews a token, or makes another one.
func (s *session) succeed(ctx context.Context, c *caller, t *token, renewable bool) (*token, error) {
	if renewable {
		if err := s.p.renewToken(ctx, t); err == nil || isOutage(err) {
			return t, err
		}
	}
	return s.logIn(ctx, c)
}

// logIn logs in, and notes for the session what comes of it.
func (s *session) logIn(ctx context.Context, c *caller) (*token, error) {
	fresher, err := s.login(ctx, c)
	switch {
	case errors.Is(err, errPodsApart):
		s.p.keepApart(c, fresher)
		return nil, err
	case err != nil:
		s.noteDenial(err)
		return nil, err
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.denials, s.scoped = nil, true
	if fresher.shared(s.p) {
		s.replace(fresher)
	}
	return fresher, nil
}

// replace needs p.mu.
func (s *session) replace(t *token) {
	before := s.current
	s.current = t
	if before != nil && before != t {
		s.p.retire(before)
	}
}

func (s *session) noteDenial(err error) {
	if provider.KindOf(err) != provider.Denied {
		return
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.denials, s.denial = append(s.denials, time.Now()), err
	if len(s.denials) > maxDenials {
		s.denials = s.denials[1:]
	}
	s.last.Clear() // whoever is refused gets nothing from memory
}

// denied returns the last refusal if there were several in a row, just now: then it
// is not about one pod's token.
func (s *session) denied() error {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if len(s.denials) < maxDenials || time.Since(s.denials[0]) > denialWindow {
		return nil
	}
	return s.denial
}

// read makes one request as a caller. If Vault refuses a token that was there before,
// it is tried once more with another one.
func (s *session) read(ctx context.Context, m *mount, r vaultclass.Read) (*reply, error) {
	t, err := s.acquire(ctx, m, nil)
	if err != nil {
		return nil, provider.At(provider.LoggingIn, err)
	}
	got, err := s.readWith(ctx, m, t, r)
	if isDeadToken(err) {
		s.p.discover(t)
	}
	if !isForbidden(err) || !t.began.Before(m.began) || !s.mayRelogin(ctx, t, err) {
		return got, err
	}
	again, loginErr := s.acquire(ctx, m, t)
	if loginErr != nil {
		return nil, provider.At(provider.LoggingIn, fmt.Errorf("%w; then, logging in anew: %w", err, loginErr))
	}
	got, err = s.readWith(ctx, m, again, r)
	s.noteRelogin(again, err)
	return got, err
}

// readWith uses up a token that was acquired.
func (s *session) readWith(ctx context.Context, m *mount, t *token, r vaultclass.Read) (*reply, error) {
	defer s.p.release(t)
	began := time.Now()
	got, err := s.conn.do(ctx, query{Read: r, operation: opRead, token: t.value, secrets: m.caller.secrets()})
	if err != nil {
		s.forget(r, err)
		return nil, err
	}
	got.began = began
	if got.isPrivate(r) {
		s.p.keep(m, t, r, got)
	}
	return got, nil
}

func isForbidden(err error) bool {
	return err != nil && provider.KindOf(err) == provider.Denied && !isOutage(err)
}

// mayRelogin says whether another login may help against a 403. One that did not is
// not repeated for a while, unless the token is dead.
func (s *session) mayRelogin(ctx context.Context, t *token, err error) bool {
	s.p.mu.Lock()
	other := s.current != nil && s.current != t
	last := s.relogin
	s.p.mu.Unlock()
	if other || isDeadToken(err) || time.Since(last.at) >= last.wait {
		return true
	}
	switch t.vitality(ctx) {
	case dead:
		return true
	case unsure:
		return time.Since(last.at) >= firstRelogin
	case alive:
	}
	return false
}

// noteRelogin remembers whether a login helped against a 403. Several requests may
// have waited for the same one.
func (s *session) noteRelogin(t *token, err error) {
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	last := &s.relogin
	switch {
	case err == nil:
		last.wait = 0
	case isForbidden(err) && last.token != t:
		last.token, last.at = t, time.Now()
		last.wait = min(max(firstRelogin, 2*last.wait), mostRelogin)
	}
}

// isPublic says whether a reply can be given to all callers of an identity. Only a
// plain GET is ever asked for together.
func isPublic(r vaultclass.Read) bool { return r.Method == http.MethodGet && r.Args == "" }
