package vault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/coalesce"
)

const (
	// maxFiles bounds the content of one volume.
	maxFiles = 16 << 20
	// maxParallel bounds the reads of one volume that are under way.
	maxParallel = 8
)

// mount is one call of the driver.
type mount struct {
	caller    *caller
	class     *vaultclass.Class
	session   *session
	volume    *volume
	began     time.Time
	notBefore time.Time // of what is shared with other volumes
	forced    time.Time // of what the volume holds itself
	gate      chan struct{}
	private   *token // one that is for this mount only; guarded by Provider.mu
	outage    error  // of the login; memory may help

	mu    sync.Mutex
	stale time.Time // of the oldest read from memory; zero if there is none
}

// replies holds what was read, by request.
type replies map[vaultclass.Read]*reply

// Mount implements [provider.Provider].
func (p *Provider) Mount(ctx context.Context, req *provider.Request) (*provider.Response, error) {
	class, err := vaultclass.Parse(req.Parameters)
	if err != nil {
		return nil, provider.Errorf(provider.Invalid, "%w", err)
	}
	p.logOnce(ctx, req, class.Warnings)
	c, err := p.admit(ctx, req, class)
	if err != nil {
		return nil, provider.At(provider.LoggingIn, err)
	}
	m := &mount{caller: c, class: class, gate: make(chan struct{}, 1), began: time.Now(), notBefore: coalesce.NotBefore(req.NotBefore)}
	m.forced = req.NotBefore
	p.mu.Lock()
	p.openVolume(m, req)
	p.mu.Unlock()
	resp, err := p.deliver(ctx, req, m)
	if errors.Is(err, errPodsApart) { // now that this is known
		resp, err = p.deliver(ctx, req, m)
	}
	if errors.Is(err, context.DeadlineExceeded) && provider.KindOf(err) == provider.Unknown {
		err = provider.Errorf(provider.Timeout, "no time is left to wait for Vault at %s: %w", m.caller.settings.shownAddress(), err)
	}
	return resp, err
}

// deliver reads and renders.
func (p *Provider) deliver(ctx context.Context, req *provider.Request, m *mount) (*provider.Response, error) {
	s, err := p.enter(m.caller)
	if err != nil {
		return nil, err
	}
	m.session = s
	defer p.leave(s)
	defer p.finish(m)
	if err = s.settleScope(ctx, m); err != nil {
		return nil, err
	}
	got, err := p.readAll(ctx, m)
	if err != nil {
		return nil, err
	}
	for read, r := range got {
		p.logOnce(ctx, req, r.warningsFrom(read))
	}
	resp, err := p.render(m, got, versions{mode: req.Mode, key: p.versionKey(ctx)})
	if err != nil {
		return nil, provider.At(provider.Reading, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	m.volume.settle(s, got)
	p.timing(m, resp)
	return resp, nil
}

// settleScope logs in before anything is read if it is not yet known whether logins
// at the place count for all pods of a service account: nothing may be shared before.
func (s *session) settleScope(ctx context.Context, m *mount) error {
	if s.p.holdsAll(m) { // then nothing is read
		return nil
	}
	s.p.mu.Lock()
	known := !s.isShared(m.caller) || s.scoped || s.current != nil
	s.p.mu.Unlock()
	if known {
		return nil
	}
	t, err := s.acquire(ctx, m, nil)
	if err == nil {
		s.p.unused(t)
		return nil
	}
	if errors.Is(err, errPodsApart) || !isOutage(err) || m.class.StaleIfError == 0 {
		return m.nameObjects(provider.At(provider.LoggingIn, err))
	}
	m.outage = provider.At(provider.LoggingIn, err)
	return nil
}

// readAll makes each distinct request once, and fails if one of them does. Those under
// way then come to their end: Vault may have made a lease.
func (p *Provider) readAll(ctx context.Context, m *mount) (replies, error) {
	var mu sync.Mutex
	var failed atomic.Bool
	got := replies{}
	total := 0
	var group errgroup.Group
	group.SetLimit(maxParallel)
	begun := map[vaultclass.Read]bool{}
	for i := range m.class.Objects {
		o := &m.class.Objects[i]
		if begun[o.Read] {
			continue
		}
		begun[o.Read] = true
		group.Go(func() (err error) {
			if failed.Load() {
				return nil
			}
			defer func() { failed.CompareAndSwap(false, err != nil) }()
			r, err := p.readOne(ctx, m, o.Read)
			switch e, _ := errors.AsType[*provider.Error](err); {
			case err != nil && e != nil && e.Step == provider.LoggingIn:
				return m.nameObjects(err)
			case err != nil:
				return provider.At(provider.Reading, fmt.Errorf("object %q: read %s with role %q: %w", o.Name, o.Read.Path, m.caller.role, err))
			}
			mu.Lock()
			defer mu.Unlock()
			if total += r.size; total > maxFiles {
				return provider.Errorf(provider.TooLarge, "object %q: the secrets of the class exceed %d bytes", o.Name, maxFiles)
			}
			got[o.Read] = r
			return nil
		})
	}
	return got, group.Wait()
}

// readOne answers from what the volume holds, from what others read just now, from
// Vault, or, if the class wants that and Vault does not answer, from memory.
func (p *Provider) readOne(ctx context.Context, m *mount, r vaultclass.Read) (*reply, error) {
	if got := p.heldFor(m, r); got != nil {
		return got, nil
	}
	if m.outage != nil {
		if last := p.lastFor(m, r, m.outage); last != nil {
			return last, nil
		}
		return nil, m.outage
	}
	s := m.session
	if !isPublic(r) {
		return s.read(ctx, m, r)
	}
	got, own, err := s.reads.Do(ctx, r, p.newerFor(m, r), func(ctx context.Context) (*reply, bool, error) {
		got, err := s.read(ctx, m, r)
		if err != nil {
			return nil, false, err
		}
		return got, !got.isPrivate(r), nil
	})
	switch {
	case err == nil && !own:
		p.meter.coalesced.Inc()
	case err != nil:
		if last := p.lastFor(m, r, err); last != nil {
			return last, nil
		}
		return nil, err
	}
	s.noteLast(m, r, got)
	return got, nil
}

// newerFor is when a read must have begun that the volume can have.
func (p *Provider) newerFor(m *mount, r vaultclass.Read) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return m.volume.known.NotBefore(r, m.notBefore)
}

func (p *Provider) holdsAll(m *mount) bool {
	return !slices.ContainsFunc(m.class.Objects, func(o vaultclass.Object) bool { return p.heldFor(m, o.Read) == nil })
}

// heldFor returns what the volume holds for a request.
func (p *Provider) heldFor(m *mount, r vaultclass.Read) *reply {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := m.volume.held[heldKey{m.session.identity, r}]
	if h == nil || !h.usable(time.Now(), m.forced) {
		return nil
	}
	p.rearm(h)
	return h.reply
}

// finish gives up what was for this mount only.
func (p *Provider) finish(m *mount) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if m.private != nil {
		p.retire(m.private)
		m.private = nil
	}
}

// own notes a token that is for this mount only.
func (m *mount) own(t *token) {
	p := m.session.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.shared(p) {
		return
	}
	if m.private != nil && m.private != t {
		p.retire(m.private)
	}
	m.private = t
}

// timing says when the driver is to ask again, and until when the content is good.
// It needs p.mu.
func (p *Provider) timing(m *mount, resp *provider.Response) {
	now := time.Now()
	for _, h := range m.volume.held {
		if wait := h.askAgain(now); wait > 0 && (resp.Refresh == 0 || wait < resp.Refresh) {
			resp.Refresh = wait
		}
		if end := h.end(); !end.IsZero() && (resp.Expires.IsZero() || end.Before(resp.Expires)) {
			resp.Expires = end
		}
	}
	resp.Stale = m.stale
}

// versions is what files and their versions are made with, beside their content.
type versions struct {
	mode fs.FileMode
	key  []byte
}

// render makes the files and versions, in the order of the class.
func (p *Provider) render(m *mount, got replies, with versions) (*provider.Response, error) {
	resp := &provider.Response{}
	total := 0
	for i := range m.class.Objects {
		o := &m.class.Objects[i]
		file, err := p.renderOne(m, o, got[o.Read])
		if err != nil {
			return nil, fmt.Errorf("object %q: %w", o.Name, err)
		}
		if total += len(file.content); total > maxFiles {
			return nil, provider.Errorf(provider.TooLarge, "object %q: the files of the volume exceed %d bytes", o.Name, maxFiles)
		}
		version, err := versionOf(with.key, o, file.versioned)
		if err != nil {
			return nil, fmt.Errorf("object %q: %w", o.Name, err)
		}
		resp.Files = append(resp.Files, provider.File{Path: o.Name, Mode: modeOf(o, with.mode), Contents: file.content})
		resp.Versions = append(resp.Versions, provider.Version{ID: o.Name, Version: version})
	}
	return resp, nil
}

func modeOf(o *vaultclass.Object, otherwise fs.FileMode) fs.FileMode {
	if o.Mode != 0 {
		return o.Mode
	}
	return otherwise
}

// nameObjects says for which objects a login was made.
func (m *mount) nameObjects(err error) error {
	const most = 3
	objects := m.class.Objects
	var names []string
	for _, o := range objects[:min(len(objects), most)] {
		names = append(names, fmt.Sprintf("%q", o.Name))
	}
	text := "object " + strings.Join(names, ", ")
	if more := len(objects) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return provider.At(provider.LoggingIn, fmt.Errorf("%s: %w", text, err))
}

func (p *Provider) logOnce(ctx context.Context, req *provider.Request, warnings []string) {
	for _, w := range warnings {
		if p.seen.First(req.Pod.Namespace + "/" + req.Class + "/" + w) {
			p.log.LogAttrs(ctx, slog.LevelWarn, w,
				slog.String("namespace", req.Pod.Namespace), slog.String("class", req.Class))
		}
	}
}
