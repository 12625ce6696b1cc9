package azure

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/recall"
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
	proxy              *tokenProxy
	apiVersion         string
	pinnedMaxAge       time.Duration
	forbidNodeIdentity bool
	maxStale           time.Duration
	hashKey            *provider.HashKey
	memory             *recall.Memory // of what Key Vault said last
	seen               recall.Seen
	meter              *meter
	userAgent          string

	mu       sync.Mutex
	sessions map[identity]*session
	volumes  map[provider.VolumeID]*volume
	swept    time.Time
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
		render:    renderer{orderChain: c.Flags.OrderChain, orderPEM: c.Flags.OrderPEM, separate: c.Flags.SeparateFiles},
		transport: bounded{newTransport()}, apiVersion: c.Flags.APIVersion, pinnedMaxAge: c.Flags.PinnedMaxAge, maxStale: c.Flags.MaxStaleIfError,
		forbidNodeIdentity: !c.Flags.AllowNodeIdentity,
		hashKey:            provider.NewHashKey(), memory: recall.NewMemory(maxMemory),
		sessions: map[identity]*session{}, volumes: map[provider.VolumeID]*volume{}, paces: map[string]*pace{},
	}
	p.meter, p.userAgent = newMeter(c.Flags.LegacyMetricLabels, p.countSessions), c.Flags.userAgent()
	err := c.Flags.check()
	if err != nil {
		return nil, err
	}
	if p.proxy, err = newTokenProxy(&c.Flags, c.Getenv); err != nil {
		return nil, err
	}
	p.proxy.lookups.Log = c.Log
	if c.Flags.UserAgent != "" && c.Flags.UserAgent != p.userAgent {
		p.log.Warn("custom-user-agent is cut to what Azure's SDK can send: " + p.userAgent)
	}
	if _, err := p.clouds.find("", ""); err != nil {
		return nil, err
	}
	return p, nil
}
