package vault

import (
	"time"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
)

// lastReply is what Vault said last, for a class that wants it should Vault not
// answer.
type lastReply struct {
	reply *reply
	until time.Time
}

// maxLast bounds what all sessions remember so, and a quarter of it what one does.
const maxLast = 16 << 20

// noteLast remembers a reply that others of the identity may have later.
func (s *session) noteLast(m *mount, r vaultclass.Read, got *reply) {
	age := min(m.class.StaleIfError, s.p.maxStale)
	if age <= 0 || got.isPrivate(r) {
		return
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.last == nil {
		s.last = map[vaultclass.Read]lastReply{}
	}
	before := s.last[r]
	delete(s.last, r)
	if !s.p.hasRoom(s, got.size) {
		return
	}
	until := got.began.Add(age)
	if before.reply == got && before.until.After(until) {
		until = before.until
	}
	s.last[r] = lastReply{got, until}
}

// hasRoom says whether a session can remember as much. It needs p.mu.
func (p *Provider) hasRoom(s *session, size int) bool {
	all, own := size, size
	for _, other := range p.sessions {
		for _, l := range other.last {
			all += l.reply.size
			if other == s {
				own += l.reply.size
			}
		}
	}
	return all <= maxLast && own <= maxLast/4
}

// lastFor returns what Vault said last, for a volume that has no files yet and a pod
// that proves who it is, if all that is wrong is that Vault does not answer.
func (p *Provider) lastFor(m *mount, r vaultclass.Read, err error) *reply {
	age := min(m.class.StaleIfError, p.maxStale)
	if age <= 0 || !isOutage(err) || !m.caller.vouched {
		return nil
	}
	p.mu.Lock()
	l, ok := m.session.last[r]
	mounted := m.volume.mounted
	p.mu.Unlock()
	if !ok || mounted || time.Since(l.reply.began) > age {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stale.IsZero() || l.reply.began.Before(m.stale) {
		m.stale = l.reply.began
	}
	p.meter.stale.Inc()
	return l.reply
}

// forget drops what Vault said last when it does not say so any more.
func (s *session) forget(r vaultclass.Read, err error) {
	switch provider.KindOf(err) {
	case provider.Denied, provider.NotFound, provider.Invalid:
	default:
		return
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	delete(s.last, r)
}
