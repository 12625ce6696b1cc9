package vault

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/provider"
)

// Config is what a [Provider] needs.
type Config struct {
	Flags Flags
	// Getenv reads the environment, VAULT_ADDR and its like.
	Getenv func(string) string
	Log    *slog.Logger
}

// Provider fetches the files of volumes from Vault.
type Provider struct {
	log        *slog.Logger
	env        level
	flags      level
	library    *api.Config // defaults and environment; never changed after New
	agent      level       // its address beats every other
	transports *transports
	seen       seen
	versionKey []byte
}

var _ provider.Provider = (*Provider)(nil)

// New checks the configuration. It does not call Vault.
func New(c Config) (*Provider, error) {
	switch {
	case c.Log == nil:
		return nil, errors.New("a logger is required")
	case c.Getenv == nil:
		return nil, errors.New("an environment is required")
	}
	env, err := envLevel(c.Getenv)
	if err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	agent := level{address: c.Getenv(api.EnvVaultAgentAddr)}
	if err = agent.check(); err != nil {
		return nil, fmt.Errorf("environment: %s: %w", api.EnvVaultAgentAddr, err)
	}
	flags := c.Flags.level()
	if err = flags.check(); err != nil {
		return nil, fmt.Errorf("flags: %w", err)
	}
	library, err := libraryConfig()
	if err != nil {
		return nil, fmt.Errorf("environment: %w", err)
	}
	p := &Provider{
		log:        c.Log,
		env:        env,
		flags:      flags,
		library:    library,
		agent:      agent,
		transports: newTransports(library.HttpClient.Transport.(*http.Transport).Proxy),
		versionKey: newVersionKey(),
	}
	p.warnOfEnvironment(c.Getenv)
	return p, nil
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

// newVersionKey makes the key of object versions. It lives as long as the
// process; with issue 5 it comes from the Kubernetes Secret that the flag
// hmac-secret-name names.
func newVersionKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return key
}

func (p *Provider) warnOfEnvironment(getenv func(string) string) {
	if getenv(api.EnvVaultToken) != "" {
		p.log.Warn("VAULT_TOKEN is ignored: every pod logs in as itself")
	}
	if p.agent.address != "" {
		p.log.Warn("VAULT_AGENT_ADDR takes precedence over every other address, those of classes included")
	}
}
