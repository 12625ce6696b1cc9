package azure

import (
	"errors"
	"time"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/recall"
)

// pinned returns what the volume has of a version, which cannot change. It is read
// again now and then, since it can be disabled, or the identity lose its right.
func (p *Provider) pinned(m *mount, key readKey) *bundle {
	if !m.refresh || key.version == "" {
		return nil
	}
	p.mu.Lock()
	v := p.volumes[m.id]
	has := false
	if v != nil && v.session == m.session {
		_, has = v.known[key]
	}
	p.mu.Unlock()
	since := time.Now().Add(-p.pinnedMaxAge)
	if m.forced.After(since) {
		since = m.forced
	}
	e, ok := m.session.last.Get(key, since)
	if !has || !ok {
		return nil
	}
	return e.Value
}

// remember keeps what may be wanted again.
func (p *Provider) remember(m *mount, key readKey, b *bundle) {
	age := min(m.class.StaleIfError, p.maxStale)
	if key.version != "" {
		age = max(age, p.pinnedMaxAge)
	}
	if age > 0 {
		m.session.last.Put(key, recall.Entry[*bundle]{Value: b, Size: b.size(), Began: b.began, Until: b.began.Add(age)})
	}
}

// lastFor returns what Key Vault said last, for a volume that has no files yet, if all
// that is wrong is that Azure does not answer.
func (p *Provider) lastFor(m *mount, key readKey, err error) *bundle {
	age := min(m.class.StaleIfError, p.maxStale)
	if age <= 0 || m.refresh || !isOutage(err) {
		return nil
	}
	last, ok := m.session.last.Get(key, time.Now().Add(-age))
	if !ok {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stale.IsZero() || last.Began.Before(m.stale) {
		m.stale = last.Began
	}
	p.meter.stale.Inc()
	return last.Value
}

// forget drops what Key Vault said last when it does not say so any more; everything,
// if the identity itself is refused.
func (s *session) forget(key readKey, err error) {
	_, login := errors.AsType[*loginFailure](err)
	switch kind := provider.KindOf(err); {
	case login && kind == provider.Denied:
		s.last.Clear()
	case kind == provider.Denied, kind == provider.NotFound, kind == provider.Invalid:
		s.last.Forget(key)
	}
}
