package setup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/strongroom/strongroom/test/vault/internal/api"
)

// Programs that give Vault what the one built for tests has not inside.
const (
	AuthPlugin     = "vault-plugin-auth-kubernetes"
	DatabasePlugin = "postgresql-database-plugin"
)

// register lets Vault run a program of a folder under an entry of its catalog,
// such as auth/kubernetes.
func register(ctx context.Context, c *api.Client, entry, program string) error {
	sum, err := digest(program)
	if err != nil {
		return err
	}
	return c.Put(ctx, "sys/plugins/catalog/"+entry, map[string]string{
		"sha256": sum, "command": filepath.Base(program),
	}, nil)
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
