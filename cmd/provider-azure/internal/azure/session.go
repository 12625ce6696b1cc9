package azure

import (
	"context"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/coalesce"
	"github.com/strongroom/strongroom/provider/recall"
)

const (
	// linger is how long the session of an identity without volumes is kept, so that
	// a deployment that restarts needs no new token.
	linger = time.Minute
	// A volume of which nothing was heard for leastPatience, and for manyPauses times
	// as long as ever before, is gone: not every driver tells.
	leastPatience = 2 * time.Hour
	manyPauses    = 10
	// sweepEvery is how often mounts look for what is of no use any more.
	sweepEvery = 10 * time.Second
	// maxMemory bounds what is remembered of Key Vault's answers, in bytes.
	maxMemory = 16 << 20
	// maxVaults bounds for how many vaults an identity keeps clients.
	maxVaults = 64
)

// session is one identity. What has no lock of its own is guarded by Provider.mu.
type session struct {
	identity   identity
	credential *credential
	reads      coalesce.Calls[readKey, *bundle]
	turns      turns
	last       *recall.Shelf[readKey, *bundle] // for staleIfError and pinned versions
	vaults     map[string]*vault
	volumes    map[provider.VolumeID]struct{}
	users      int // mounts under way
	used       time.Time
}

// readKey is one GET: of a version of an object, or of the list of them.
type readKey struct {
	vault, kind, name, version string
	list                       bool
}

// volume is one volume of a pod. It is guarded by Provider.mu.
type volume struct {
	session *session // that it has its content from; nil before the first
	trusts  *session // that has the token of its pod
	known   coalesce.Known[readKey]
	users   int // mounts under way
	last    time.Time
	pause   time.Duration // the longest between two mounts
}

// enter returns the session of a caller, and counts the caller in; leave follows.
func (p *Provider) enter(c *caller) (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.swept) > sweepEvery {
		p.swept = now
		p.sweep(now)
	}
	s := p.sessions[c.identity]
	if s == nil {
		cred, err := newCredential(c, p.options(), p.meter)
		if err != nil {
			return nil, err
		}
		cred.calls.Log = p.log
		s = &session{
			identity: c.identity, credential: cred, vaults: map[string]*vault{}, volumes: map[provider.VolumeID]struct{}{},
			reads: coalesce.Calls[readKey, *bundle]{Keep: coalesce.Window, Waits: true, Log: p.log},
			last:  recall.NewShelf[readKey, *bundle](p.memory),
		}
		p.sessions[c.identity] = s
	}
	s.users++
	return s, nil
}

// options are what all of the SDK's clients have in common.
func (p *Provider) options() azcore.ClientOptions {
	return azcore.ClientOptions{Transport: p.transport, Telemetry: policy.TelemetryOptions{ApplicationID: p.userAgent}}
}

func (p *Provider) leave(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.users--
	p.rest(s)
}

// rest has a session forgotten that is of no use any more. It needs p.mu.
func (p *Provider) rest(s *session) {
	s.used = time.Now()
	if s.users > 0 || len(s.volumes) > 0 {
		return
	}
	time.AfterFunc(linger+time.Second, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sweep(time.Now())
	})
}

// sweep forgets what is of no use any more. It needs p.mu.
func (p *Provider) sweep(now time.Time) {
	for id, v := range p.volumes {
		if v.users == 0 && now.Sub(v.last) > max(leastPatience, manyPauses*v.pause) {
			p.forget(id)
		}
	}
	for id, s := range p.sessions {
		s.last.Sweep(now)
		if s.users == 0 && len(s.volumes) == 0 && now.Sub(s.used) > linger {
			s.last.Close()
			delete(p.sessions, id)
		}
	}
}

// open notes that a mount of a volume begins; shut follows. It says whether the volume
// is mounted already.
func (p *Provider) open(m *mount) (mounted bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	v := p.volumes[m.id]
	if v == nil {
		v = &volume{last: now}
		p.volumes[m.id] = v
	}
	v.users++
	v.pause, v.last = max(v.pause, now.Sub(v.last)), now
	if v.trusts != nil && v.trusts != m.session {
		v.trusts.credential.distrust(m.id)
	}
	v.trusts, m.volume = m.session, v
	if m.caller.token.Value != "" {
		m.session.credential.trust(m.id, m.caller.token)
	}
	return v.session != nil
}

// shut ends what open began. Without content a volume stands for nothing.
func (p *Provider) shut(m *mount) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v, now := m.volume, p.volumes[m.id]
	v.users--
	switch {
	case now == v:
		if v.users == 0 && v.session == nil {
			p.forget(m.id)
		}
	case now == nil || now.trusts != m.session: // it is gone
		m.session.credential.distrust(m.id)
	}
}

// settle notes what a volume has.
func (p *Provider) settle(m *mount, known coalesce.Known[readKey]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := m.volume
	if p.volumes[m.id] != v { // it is gone
		return
	}
	if v.session != nil && v.session != m.session {
		delete(v.session.volumes, m.id)
		p.rest(v.session)
	}
	v.session, v.known = m.session, known
	m.session.volumes[m.id] = struct{}{}
}

// newerFor is when a read must have begun that the volume can have.
func (p *Provider) newerFor(m *mount, key readKey) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.volumes[m.id]; v != nil && v.session == m.session {
		return v.known.NotBefore(key, m.notBefore)
	}
	return m.notBefore
}

// Unmounted implements [provider.Unmounter].
func (p *Provider) Unmounted(_ context.Context, id provider.VolumeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(id)
}

// forget drops a volume. It needs p.mu.
func (p *Provider) forget(id provider.VolumeID) {
	v := p.volumes[id]
	if v == nil {
		return
	}
	delete(p.volumes, id)
	if v.trusts != nil {
		v.trusts.credential.distrust(id)
	}
	if v.session != nil {
		delete(v.session.volumes, id)
		p.rest(v.session)
	}
}

// vaultOf returns the clients of one vault; they learn once where to get tokens.
func (p *Provider) vaultOf(s *session, name string) (*vault, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	url := s.identity.cloud.vaultURL(name)
	if v := s.vaults[url]; v != nil {
		return v, nil
	}
	v, err := p.newVault(url, s)
	if err != nil {
		return nil, provider.Errorf(provider.Invalid, "failed to get keyvault client: %w", err)
	}
	if len(s.vaults) >= maxVaults {
		clear(s.vaults)
	}
	s.vaults[url] = v
	return v, nil
}
