package vault

import (
	"time"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/recall"
)

// maxLast bounds what Vault said last, in bytes.
const maxLast = 16 << 20

// noteLast remembers a reply that others of the identity may have later, should Vault
// not answer them.
func (s *session) noteLast(m *mount, r vaultclass.Read, got *reply) {
	age := min(m.class.StaleIfError, s.p.maxStale)
	if age <= 0 || got.isPrivate(r) {
		return
	}
	s.last.Put(r, recall.Entry[*reply]{Value: got, Size: got.size, Began: got.began, Until: got.began.Add(age)})
}

// lastFor returns what Vault said last, for a volume that has no files yet and a pod
// that proves who it is, if all that is wrong is that Vault does not answer.
func (p *Provider) lastFor(m *mount, r vaultclass.Read, err error) *reply {
	age := min(m.class.StaleIfError, p.maxStale)
	if age <= 0 || !isOutage(err) || !m.caller.vouched {
		return nil
	}
	last, ok := m.session.last.Get(r, time.Now().Add(-age))
	p.mu.Lock()
	mounted := m.volume.mounted
	p.mu.Unlock()
	if !ok || mounted {
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

// forget drops what Vault said last when it does not say so any more.
func (s *session) forget(r vaultclass.Read, err error) {
	switch provider.KindOf(err) {
	case provider.Denied, provider.NotFound, provider.Invalid:
		s.last.Forget(r)
	default:
	}
}
