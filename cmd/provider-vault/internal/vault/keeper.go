package vault

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/coalesce"
	"github.com/strongroom/strongroom/provider/recall"
)

const (
	// linger is how long the session of an identity without volumes is kept, so that
	// a deployment that restarts need not log in.
	linger = time.Minute
	// sweepEvery is how often what is of no use any more is looked for.
	sweepEvery = 15 * time.Second
	// maxApart bounds what is remembered of places.
	maxApart = 4096
	// jobTimeout bounds a request that nobody waits for.
	jobTimeout = 20 * time.Second
)

// place is an auth mount.
type place struct {
	address, vaultNamespace, mount string
	transport                      transportKey
}

func (i *identity) place() place {
	return place{i.address, i.vaultNamespace, i.mount, i.transport}
}

// enter returns the session of a caller, and counts the caller in; leave follows.
func (p *Provider) enter(c *caller) (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := c.identity
	if id.method == vaultclass.Kubernetes && p.apart[id.place()] && !p.shareJWT {
		id.pod = c.onePod
	}
	s, err := p.session(id, c)
	if err != nil {
		return nil, err
	}
	s.users++
	s.used = time.Now()
	return s, nil
}

func (p *Provider) leave(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.users--
	s.used = time.Now()
}

// session finds or makes a session. It needs p.mu.
func (p *Provider) session(id identity, c *caller) (*session, error) {
	if s := p.sessions[id]; s != nil {
		return s, nil
	}
	conn, err := p.connect(c.settings, c.via)
	if err != nil {
		return nil, err
	}
	s := &session{
		p: p, identity: id, conn: conn, volumes: map[provider.VolumeID]struct{}{},
		logins: coalesce.Calls[struct{}, *token]{Log: p.log},
		reads:  coalesce.Calls[vaultclass.Read, *reply]{Keep: coalesce.Window, Log: p.log},
		last:   recall.NewShelf[vaultclass.Read, *reply](p.memory),
		first:  map[vaultclass.Read]first{},
	}
	if p.envToken != "" {
		s.current = &token{session: s, value: p.envToken, uses: -1, held: heldSet{}}
	}
	p.evict()
	p.sessions[id] = s
	return s, nil
}

// evict makes room for another session: the login goes that was not used for longest
// and has no leases. A session stays as long as it has volumes. It needs p.mu.
func (p *Provider) evict() {
	if len(p.sessions) < max(p.cacheSize, 1) {
		return
	}
	var oldest *session
	for _, s := range p.sessions {
		if s.evictable() && (oldest == nil || s.used.Before(oldest.used)) {
			oldest = s
		}
	}
	switch {
	case oldest == nil:
	case len(oldest.volumes) > 0:
		oldest.logOut()
	default:
		p.endSession(oldest)
	}
}

// evictable needs p.mu.
func (s *session) evictable() bool {
	switch {
	case s.users > 0:
		return false
	case s.current == nil:
		return len(s.volumes) == 0
	}
	return len(s.current.held) == 0
}

// logOut needs p.mu.
func (s *session) logOut() {
	if s.current != nil {
		s.p.retire(s.current)
		s.current = nil
	}
}

// endSession needs p.mu.
func (p *Provider) endSession(s *session) {
	delete(p.sessions, s.identity)
	s.last.Close()
	s.logOut()
}

// keepApart notes that logins at a place count for one pod only, and gives a pod the
// session that it has begun.
func (p *Provider) keepApart(c *caller, t *token) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := c.identity
	if len(p.apart) >= maxApart { // they will be found out again
		clear(p.apart)
	}
	p.apart[id.place()] = true
	id.pod = c.onePod
	s, err := p.session(id, c)
	if err != nil || !t.shared(p) {
		p.retire(t)
		return
	}
	t.session = s
	s.replace(t)
}

// hold counts a request that will use a token; false if it is about to be revoked.
func (p *Provider) hold(t *token) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.revoked {
		return false
	}
	t.use()
	return true
}

// release ends what hold or take began.
func (p *Provider) release(t *token) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t.busy--
	p.tidy(t)
}

// unused ends what hold began if no request was made.
func (p *Provider) unused(t *token) {
	p.mu.Lock()
	if t.uses >= 0 {
		t.uses++
	}
	p.mu.Unlock()
	p.release(t)
}

// retire says that a token will not be used for anything new. It needs p.mu.
func (p *Provider) retire(t *token) {
	t.retired = true
	p.tidy(t)
}

// tidy revokes a token if nobody has a use for it: never while a volume uses a lease
// that it made, since Vault revokes those with it. It needs p.mu.
func (p *Provider) tidy(t *token) {
	if len(t.held) > 0 || t.busy > 0 || t.revoked || !t.retired && !t.untidy {
		return
	}
	if t.session.current == t {
		t.session.current = nil
	}
	stopTimer(t.timer)
	t.revoked = true
	if !t.revocable || t.uses == 0 || t.over(time.Now()) {
		return
	}
	p.soon(func(ctx context.Context) { p.revokeToken(ctx, t) })
}

// revokeToken is not tried again: the token runs out.
func (p *Provider) revokeToken(ctx context.Context, t *token) {
	_, err := t.session.conn.do(ctx, query{
		Read:      vaultclass.Read{Method: http.MethodPost, Path: "/v1/auth/token/revoke-self"},
		operation: opRevokeToken, token: t.value,
	})
	if err != nil {
		p.log.LogAttrs(ctx, slog.LevelDebug, "a token was not revoked", slog.String("err", err.Error()))
	}
}

// renewToken prolongs a token.
func (p *Provider) renewToken(ctx context.Context, t *token) error {
	lived, err := t.renew(ctx)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t.term = lived
	if t.over(time.Now()) {
		return provider.Errorf(provider.Unavailable, "the token is at the end of its life")
	}
	p.watchToken(t)
	return nil
}

// postpone has a token used for a part of the time that it has left, since Vault gives
// no other just now; false if it is over.
func (p *Provider) postpone(t *token) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	t.from = now
	return !t.over(now)
}

// watchToken has a token renewed in time as long as leases depend on it. It needs p.mu.
func (p *Provider) watchToken(t *token) {
	stopTimer(t.timer)
	if len(t.held) == 0 || !t.extends() || t.expires.IsZero() || t.revoked {
		return
	}
	t.timer = p.later(until(t.part(percentOfRenewal)), func(ctx context.Context) { p.prolongToken(ctx, t) })
}

func (p *Provider) prolongToken(ctx context.Context, t *token) {
	p.mu.Lock()
	now := time.Now()
	needed := false
	for h := range t.held {
		needed = needed || h.volume.waitedFor(now)
	}
	needed = needed && !t.revoked && !t.over(now)
	if needed {
		t.busy++
	} else {
		t.timer = nil
	}
	p.mu.Unlock()
	if !needed {
		return
	}
	defer p.release(t)
	err := p.renewToken(ctx, t)
	if err == nil {
		return
	}
	dead := isDeadToken(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if dead {
		p.bury(t)
		return
	}
	if isOutage(err) {
		t.timer = p.later(max(time.Second, time.Until(t.expires)/4), func(ctx context.Context) { p.prolongToken(ctx, t) })
		return
	}
	t.capped = true // what it made ends when it does
}

// discover is bury for who does not hold the lock.
func (p *Provider) discover(dead *token) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.bury(dead)
}

// bury notes that a token was revoked by someone else, and what it made with it. It
// needs p.mu.
func (p *Provider) bury(t *token) {
	for h := range t.held {
		h.lost = true
		stopTimer(h.timer)
	}
	stopTimer(t.timer)
	t.revoked = true
	if t.session.current == t {
		t.session.current = nil
	}
}

// later runs a job after a while, and returns nil if the provider stops before.
func (p *Provider) later(after time.Duration, job func(context.Context)) *time.Timer {
	return p.jobs.after(after, job)
}

// soon runs a job now, in the background.
func (p *Provider) soon(job func(context.Context)) {
	if p.jobs.begin() {
		go p.jobs.run(job)
	}
}

// jobs are what is done when nobody waits for it.
type jobs struct {
	ctx context.Context //nolint:containedctx // of the process; it does not end when the process is told to stop
	log *slog.Logger

	mu     sync.Mutex
	closed bool
	group  sync.WaitGroup
}

func (j *jobs) after(after time.Duration, job func(context.Context)) *time.Timer {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return nil
	}
	return time.AfterFunc(after, func() {
		if j.begin() {
			j.run(job)
		}
	})
}

func (j *jobs) begin() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return false
	}
	j.group.Add(1)
	return true
}

// run does a job that outlives the call which asked for it.
//
//nolint:contextcheck,nolintlint // contextcheck heeds it, and does not say so
func (j *jobs) run(job func(context.Context)) {
	defer j.group.Done()
	ctx, cancel := context.WithTimeout(j.ctx, jobTimeout)
	defer cancel()
	defer func() {
		if recover() != nil { // what the panic says may hold a value; the stack does not
			j.log.LogAttrs(ctx, slog.LevelError, "a job panicked", slog.String("stack", string(debug.Stack())))
		}
	}()
	job(ctx)
}

// end lets no more jobs begin, and waits for those under way.
func (j *jobs) end(ctx context.Context) {
	j.mu.Lock()
	j.closed = true
	j.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		j.group.Wait()
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// sweep forgets what is of no use any more, again and again.
func (p *Provider) sweep(context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for _, v := range p.volumes {
		p.sweepVolume(v, now)
	}
	for _, s := range p.sessions {
		left := s.last.Sweep(now)
		if s.users > 0 || len(s.volumes) > 0 || now.Sub(s.used) < linger {
			continue
		}
		s.logOut()
		if left == 0 {
			p.endSession(s)
		}
	}
	p.later(sweepEvery, p.sweep)
}

// sweepVolume needs p.mu.
func (p *Provider) sweepVolume(v *volume, now time.Time) {
	leases := 0
	for h := range v.old {
		if h.ended(now) {
			p.dropHeld(h)
		} else {
			leases++
		}
	}
	for key, h := range v.held {
		switch {
		case h.ended(now):
			delete(v.held, key)
			stopTimer(h.timer)
			p.dropHeld(h)
		case h.lease != "":
			leases++
		}
	}
	switch {
	case v.waitedFor(now):
	case !v.mounted, leases == 0:
		p.forgetVolume(v)
	}
}

// ended says whether Vault has forgotten it by now.
func (h *held) ended(now time.Time) bool {
	return h.lost || !h.expires.IsZero() && now.After(h.expires)
}

// Close implements [provider.Closer]. Tokens that no lease depends on are handed back
// to Vault; pods go on with what the others made until its end.
func (p *Provider) Close(ctx context.Context) {
	p.mu.Lock()
	for _, s := range p.sessions {
		if s.current != nil && len(s.current.held) == 0 {
			p.retire(s.current)
		}
	}
	p.mu.Unlock()
	p.jobs.end(ctx)
}

func (p *Provider) countSessions() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sessions)
}

func (p *Provider) countLeases() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, v := range p.volumes {
		n += len(v.old)
		for _, h := range v.held {
			if h.lease != "" {
				n++
			}
		}
	}
	return n
}
