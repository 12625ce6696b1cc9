package setup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/strongroom/strongroom/test/vault/internal/api"
	"github.com/strongroom/strongroom/test/vault/internal/reviewer"
)

// Plugin is the program that gives Vault its Kubernetes auth: the Vault built
// for tests has none inside.
const Plugin = "vault-plugin-auth-kubernetes"

// Audit makes Vault write an audit log. Values in it are hashed.
func Audit(ctx context.Context, c *api.Client, file string) error {
	return missing(ctx, c, "sys/audit", "file", map[string]any{
		"type": "file", "options": map[string]string{"file_path": file, "log_raw": "false"},
	})
}

// Engines mounts a key/value engine of version 1 at kv/ and one of version 2
// at secret/.
func Engines(ctx context.Context, c *api.Client) error {
	for path, version := range map[string]string{"kv": "1", "secret": "2"} {
		err := missing(ctx, c, "sys/mounts", path, map[string]any{
			"type": "kv", "options": map[string]string{"version": version},
		})
		if err != nil {
			return err
		}
	}
	return repeat(ctx, func() error { // an engine of version 2 prepares itself for a moment
		return c.Do(ctx, http.MethodGet, "secret/config", nil, nil)
	})
}

// Auth mounts Kubernetes auth from a plugin in a folder and points it at a
// cluster. Vault asks that cluster with a token of its own.
func Auth(ctx context.Context, c *api.Client, plugins string, cluster reviewer.Access) error {
	sum, err := digest(filepath.Join(plugins, Plugin))
	if err != nil {
		return err
	}
	catalog := map[string]string{"sha256": sum, "command": Plugin}
	if err := c.Do(ctx, http.MethodPut, "sys/plugins/catalog/auth/kubernetes", catalog, nil); err != nil {
		return err
	}
	if err := missing(ctx, c, "sys/auth", "kubernetes", map[string]string{"type": "kubernetes"}); err != nil {
		return err
	}
	return c.Do(ctx, http.MethodPost, "auth/kubernetes/config", map[string]any{
		"kubernetes_host":      cluster.Host,
		"kubernetes_ca_cert":   cluster.CA,
		"token_reviewer_jwt":   cluster.Token,
		"disable_local_ca_jwt": true,
	}, nil)
}

// missing makes an entry of a list unless it is there.
func missing(ctx context.Context, c *api.Client, list, name string, entry any) error {
	var have struct {
		Data map[string]any `json:"data"`
	}
	if err := c.Do(ctx, http.MethodGet, list, nil, &have); err != nil {
		return err
	}
	if _, ok := have.Data[name+"/"]; ok {
		return nil
	}
	return c.Do(ctx, http.MethodPost, list+"/"+name, entry, nil)
}

func repeat(ctx context.Context, f func() error) error {
	for {
		err := f()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the plugin: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read the plugin: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
