package setup

import (
	"context"
	"path/filepath"

	"github.com/strongroom/strongroom/test/vault/internal/api"
)

// Engines mounts a key/value engine of version 1 at kv/ and one of version 2
// at secret/, transit/, and pki/ with an authority of its own.
func Engines(ctx context.Context, c *api.Client) error {
	year := map[string]string{"max_lease_ttl": "8760h"}
	for name, how := range map[string]any{
		"kv":      map[string]any{"type": "kv", "options": map[string]string{"version": "1"}},
		"secret":  map[string]any{"type": "kv", "options": map[string]string{"version": "2"}},
		"transit": map[string]any{"type": "transit"},
		"pki":     map[string]any{"type": "pki", "config": year},
	} {
		if err := missing(ctx, c, "sys/mounts/"+name, how); err != nil {
			return err
		}
	}
	err := repeat(ctx, func() error { // an engine of version 2 prepares itself for a moment
		return c.Get(ctx, "secret/config", nil)
	})
	if err != nil {
		return err
	}
	return authority(ctx, c)
}

// authority makes the root of pki/, unless it has one.
func authority(ctx context.Context, c *api.Client) error {
	var have struct {
		Data struct {
			Default string `json:"default"`
		} `json:"data"`
	}
	if err := c.Get(ctx, "pki/config/issuers", &have); err != nil || have.Data.Default != "" {
		return err
	}
	return c.Put(ctx, "pki/root/generate/internal", map[string]string{
		"common_name": "strongroom test pki", "key_type": "ec", "ttl": "8700h",
	}, nil)
}

// Connection is how Vault reaches a PostgreSQL.
type Connection struct {
	Plugins        string // folder of Vault's plugins
	URL            string // with {{username}} and {{password}} in it
	User, Password string
}

// Database mounts database/ with a connection named postgres, which every role
// may use.
func Database(ctx context.Context, c *api.Client, to Connection) error {
	if err := register(ctx, c, "database/"+DatabasePlugin, filepath.Join(to.Plugins, DatabasePlugin)); err != nil {
		return err
	}
	if err := missing(ctx, c, "sys/mounts/database", map[string]string{"type": "database"}); err != nil {
		return err
	}
	return c.Put(ctx, "database/config/postgres", map[string]string{
		"plugin_name": DatabasePlugin, "allowed_roles": "*", "connection_url": to.URL,
		"username": to.User, "password": to.Password, "max_open_connections": "8",
	}, nil)
}
