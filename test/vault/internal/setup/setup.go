package setup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/strongroom/strongroom/test/vault/internal/api"
	"github.com/strongroom/strongroom/test/vault/internal/reviewer"
)

// Plugin is the program that gives Vault its Kubernetes auth: the Vault built
// for tests has none inside.
const Plugin = "vault-plugin-auth-kubernetes"

// Audit makes Vault write an audit log. Values in it are hashed.
func Audit(ctx context.Context, c *api.Client, file string) error {
	return missing(ctx, c, "sys/audit/file", map[string]any{
		"type": "file", "options": map[string]string{"file_path": file, "log_raw": "false"},
	})
}

// Engines mounts a key/value engine of version 1 at kv/ and one of version 2
// at secret/.
func Engines(ctx context.Context, c *api.Client) error {
	for name, version := range map[string]string{"kv": "1", "secret": "2"} {
		err := missing(ctx, c, "sys/mounts/"+name, map[string]any{
			"type": "kv", "options": map[string]string{"version": version},
		})
		if err != nil {
			return err
		}
	}
	return repeat(ctx, func() error { // an engine of version 2 prepares itself for a moment
		return c.Get(ctx, "secret/config", nil)
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
	if err := c.Put(ctx, "sys/plugins/catalog/auth/kubernetes", catalog, nil); err != nil {
		return err
	}
	if err := missing(ctx, c, "sys/auth/kubernetes", map[string]string{"type": "kubernetes"}); err != nil {
		return err
	}
	return c.Put(ctx, "auth/kubernetes/config", map[string]any{
		"kubernetes_host":      cluster.Host,
		"kubernetes_ca_cert":   cluster.CA,
		"token_reviewer_jwt":   cluster.Token,
		"disable_local_ca_jwt": true,
	}, nil)
}

// missing makes an entry, such as sys/mounts/kv, unless its list has it.
func missing(ctx context.Context, c *api.Client, entry string, how any) error {
	list, name := path.Split(entry)
	var have struct {
		Data map[string]any `json:"data"`
	}
	if err := c.Get(ctx, strings.TrimSuffix(list, "/"), &have); err != nil {
		return err
	}
	if _, ok := have.Data[name+"/"]; ok {
		return nil
	}
	return c.Put(ctx, entry, how, nil)
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

func digest(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("read the plugin: %w", err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read the plugin: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
