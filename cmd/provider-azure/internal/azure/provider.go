package azure

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/coalesce"
)

// Config is what a [Provider] needs.
type Config struct {
	Flags Flags
	// Getenv reads the environment.
	Getenv func(string) string
	Log    *slog.Logger
}

// Provider fetches the files of volumes from Azure Key Vault.
type Provider struct {
	log                *slog.Logger
	clouds             clouds
	render             renderer
	transport          policy.Transporter
	apiVersion         string
	pinnedMaxAge       time.Duration
	forbidNodeIdentity bool
	hashKey            []byte // of this process
	meter              *meter
	userAgent          string

	mu       sync.Mutex
	sessions map[identity]*session
	volumes  map[provider.VolumeID]*volume
	paces    map[string]*pace // by the URL of a vault
}

var (
	_ provider.Provider  = (*Provider)(nil)
	_ provider.Unmounter = (*Provider)(nil)
)

// New checks the configuration. It does not call Azure.
func New(c Config) (*Provider, error) {
	switch {
	case c.Log == nil:
		return nil, errors.New("a logger is required")
	case c.Getenv == nil:
		return nil, errors.New("an environment is required")
	}
	p := &Provider{
		log:       c.Log,
		clouds:    clouds{otherwise: c.Flags.Cloud, file: c.Getenv("AZURE_ENVIRONMENT_FILEPATH"), below: c.Flags.CloudFilesDirectory},
		render:    renderer{orderChain: c.Flags.OrderChain, separate: c.Flags.SeparateFiles},
		transport: newTransport(), apiVersion: c.Flags.APIVersion, pinnedMaxAge: c.Flags.PinnedMaxAge,
		forbidNodeIdentity: !c.Flags.AllowNodeIdentity,
		hashKey:            make([]byte, 32),
		sessions:           map[identity]*session{}, volumes: map[provider.VolumeID]*volume{}, paces: map[string]*pace{},
	}
	_, _ = rand.Read(p.hashKey) // never fails
	p.meter, p.userAgent = newMeter(c.Flags.LegacyMetricLabels, p.countSessions), c.Flags.userAgent()
	if err := c.Flags.check(); err != nil {
		return nil, err
	}
	if _, err := p.clouds.find("", ""); err != nil {
		return nil, err
	}
	return p, nil
}

// session is one identity. What has no lock of its own is guarded by Provider.mu.
type session struct {
	identity   identity
	credential *credential
	reads      coalesce.Calls[readKey, *bundle]
	lists      coalesce.Calls[listKey, []listed]
	vaults     map[string]*vault
	volumes    map[provider.VolumeID]struct{}
	users      int // mounts under way
	used       time.Time
}

// readKey is one GET.
type readKey struct{ vault, kind, name, version string }

// listKey is one listing of versions.
type listKey struct{ vault, kind, name string }

// volume is one volume of a pod. It is guarded by Provider.mu.
type volume struct {
	session *session
	// known is when the reads began that its content is from.
	known map[readKey]time.Time
}

const (
	// sharing is how old a read may be when a volume gets it that began later.
	sharing = 10 * time.Second
	// linger is how long the session of an identity without volumes is kept.
	linger = time.Minute
)

// enter returns the session of a caller, and counts the caller in; leave follows.
func (p *Provider) enter(c *caller) (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(time.Now())
	s := p.sessions[c.identity]
	if s == nil {
		cred, err := newCredential(c, p.watch(byLogin, azcore.ClientOptions{Transport: p.transport}), p.meter)
		if err != nil {
			return nil, err
		}
		s = &session{
			identity: c.identity, credential: cred, vaults: map[string]*vault{}, volumes: map[provider.VolumeID]struct{}{},
			reads: coalesce.Calls[readKey, *bundle]{Keep: sharing, Log: p.log},
			lists: coalesce.Calls[listKey, []listed]{Keep: sharing, Log: p.log},
		}
		p.sessions[c.identity] = s
	}
	s.users++
	return s, nil
}

func (p *Provider) leave(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.users--
	s.used = time.Now()
}

// sweep forgets identities without volumes. It needs p.mu.
func (p *Provider) sweep(now time.Time) {
	for id, s := range p.sessions {
		if s.users == 0 && len(s.volumes) == 0 && now.Sub(s.used) > linger {
			delete(p.sessions, id)
		}
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
	v, err := newVault(url, s.credential, p.watch(byVault, clientOptions(s.identity.cloud, p.apiVersion, p.transport)))
	if err != nil {
		return nil, provider.Errorf(provider.Invalid, "failed to get keyvault client: %w", err)
	}
	v.pace, v.meter = p.paceOf(url), p.meter
	s.vaults[url] = v
	return v, nil
}

// Unmounted implements [provider.Unmounter].
func (p *Provider) Unmounted(_ context.Context, id provider.VolumeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	v := p.volumes[id]
	if v == nil {
		return
	}
	delete(p.volumes, id)
	delete(v.session.volumes, id)
	v.session.used = time.Now()
	v.session.credential.distrust(id)
}
