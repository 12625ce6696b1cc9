package vault

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/recall"
)

// Config is what a [Provider] needs.
type Config struct {
	Flags Flags
	// Getenv reads the environment, VAULT_ADDR and its like.
	Getenv func(string) string
	Log    *slog.Logger
	// VersionKey returns the key of object versions; without one they are empty.
	VersionKey func(context.Context) []byte
	// RequestToken asks Kubernetes for a token of a pod, should kubelet bring none; nil
	// if that is not allowed.
	RequestToken func(ctx context.Context, pod provider.Pod, audience string) (provider.Token, error)
}

// Provider fetches the files of volumes from Vault.
type Provider struct {
	log        *slog.Logger
	env        level
	flags      level
	library    *api.Config // defaults and environment; never changed after New
	agent      level       // its address beats every other
	guard      *guard
	transports *transports
	meter      *meter
	slots      map[string]chan struct{} // by address; guarded by mu
	seen       recall.Seen
	hashKey    *provider.HashKey
	memory     *recall.Memory // of what Vault said last
	envToken   string         // VAULT_TOKEN, if the operator wants that
	cacheSize  int
	maxStale   time.Duration
	shareJWT   bool
	jobs       jobs

	versionKey func(context.Context) []byte
	ownTokens  ownTokens

	mu       sync.Mutex
	sessions map[identity]*session
	volumes  map[provider.VolumeID]*volume
	apart    map[place]bool // where a login counts for one pod only
}

var (
	_ provider.Provider  = (*Provider)(nil)
	_ provider.Unmounter = (*Provider)(nil)
	_ provider.Closer    = (*Provider)(nil)
)

const (
	// maxRequests bounds the requests to one Vault that are under way.
	maxRequests = 64
	// maxAddresses bounds what classes can make the provider remember.
	maxAddresses = 256
)

// New checks the configuration. It does not call Vault. What ctx carries goes with
// requests that no caller waits for; they do not end with it.
func New(ctx context.Context, c Config) (*Provider, error) {
	switch {
	case c.Log == nil:
		return nil, errors.New("a logger is required")
	case c.Getenv == nil:
		return nil, errors.New("an environment is required")
	case c.VersionKey == nil:
		return nil, errors.New("a key of object versions is required")
	}
	p := &Provider{
		log: c.Log, versionKey: c.VersionKey,
		hashKey: provider.NewHashKey(), memory: recall.NewMemory(maxLast), cacheSize: c.Flags.CacheSize, maxStale: c.Flags.MaxStaleIfError,
		slots: map[string]chan struct{}{}, jobs: jobs{ctx: context.WithoutCancel(ctx), log: c.Log}, ownTokens: ownTokens{request: c.RequestToken},
		sessions: map[identity]*session{}, volumes: map[provider.VolumeID]*volume{}, apart: map[place]bool{},
	}
	p.meter = newMeter(p)
	if err := p.configure(&c.Flags, c.Getenv); err != nil {
		return nil, err
	}
	p.warnOfEnvironment(c.Getenv)
	p.later(sweepEvery, p.sweep)
	return p, nil
}

// configure lays environment and flags out.
func (p *Provider) configure(f *Flags, getenv func(string) string) (err error) {
	if p.env, err = envLevel(getenv); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	p.agent = level{address: getenv(api.EnvVaultAgentAddr)}
	if err = p.agent.check(); err != nil {
		return fmt.Errorf("environment: %s: %w", api.EnvVaultAgentAddr, err)
	}
	p.flags = f.level()
	if err = p.flags.check(); err != nil {
		return fmt.Errorf("flags: %w", err)
	}
	if p.shareJWT, err = f.sharesJWT(); err != nil {
		return fmt.Errorf("flags: %w", err)
	}
	if p.library, err = libraryConfig(); err != nil {
		return fmt.Errorf("environment: %w", err)
	}
	own := resolve(p.env, p.flags, p.agent).address
	if p.guard, err = newGuard(f, own); err != nil {
		return fmt.Errorf("flags: %w", err)
	}
	if f.AllowEnvToken {
		p.envToken = getenv(api.EnvVaultToken)
	}
	p.transports = newTransports(p.library.HttpClient.Transport.(*http.Transport).Proxy, p.guard)
	return nil
}

// libraryConfig is what the client library makes of its defaults and the
// environment. A client made and dropped shows the errors of every variable now.
func libraryConfig() (*api.Config, error) {
	c := api.DefaultConfig()
	if c.Error != nil {
		return nil, c.Error
	}
	if _, err := api.NewClient(nil); err != nil {
		return nil, err
	}
	return c, nil
}

func (p *Provider) warnOfEnvironment(getenv func(string) string) {
	switch {
	case p.envToken != "":
		p.log.Warn("every pod reads as the owner of VAULT_TOKEN, whatever its own roles are (allow-env-token)")
	case getenv(api.EnvVaultToken) != "":
		p.log.Warn("VAULT_TOKEN is ignored: every pod logs in as itself; --allow-env-token changes that")
	}
	if p.agent.address != "" {
		p.log.Warn("VAULT_AGENT_ADDR takes precedence over every other address, those of classes included")
	}
}
