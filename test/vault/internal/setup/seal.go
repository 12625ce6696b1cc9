package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/strongroom/strongroom/test/vault/internal/api"
)

// Keys opens a Vault.
type Keys struct {
	Unseal string `json:"unseal_key"`
	Root   string `json:"root_token"`
}

// ErrLost says that a Vault cannot be opened any more: it was initialised, and
// the keys were not kept.
var ErrLost = errors.New("the keys are lost")

// ReadKeys reads the keys from the file that Init wrote.
func ReadKeys(file string) (Keys, error) {
	var k Keys
	b, err := os.ReadFile(file)
	if err != nil {
		return k, err
	}
	if err := json.Unmarshal(b, &k); err != nil {
		return k, fmt.Errorf("read %s: %w", file, errors.Join(ErrLost, err))
	}
	return k, nil
}

// Init initialises Vault with one key share, once, and keeps the keys in a
// file.
func Init(ctx context.Context, c *api.Client, file string) (Keys, error) {
	h, err := c.Health(ctx)
	if err != nil {
		return Keys{}, fmt.Errorf("initialise Vault: %w", err)
	}
	if h.Initialized {
		var k Keys
		k, err = ReadKeys(file)
		if errors.Is(err, fs.ErrNotExist) {
			err = ErrLost
		}
		return k, err
	}
	var made struct {
		Keys []string `json:"keys_base64"`
		Root string   `json:"root_token"`
	}
	shares := map[string]int{"secret_shares": 1, "secret_threshold": 1}
	if err = c.Put(ctx, "sys/init", shares, &made); err != nil {
		return Keys{}, err
	}
	if len(made.Keys) != 1 {
		return Keys{}, fmt.Errorf("initialise Vault: got %d keys", len(made.Keys))
	}
	k := Keys{Unseal: made.Keys[0], Root: made.Root}
	b, err := json.Marshal(k)
	if err != nil {
		return k, err
	}
	return k, os.WriteFile(file, append(b, '\n'), 0o600)
}

// Unseal opens Vault and waits until it serves requests.
func Unseal(ctx context.Context, c *api.Client, k Keys) error {
	h, err := c.Health(ctx)
	if err != nil {
		return fmt.Errorf("unseal Vault: %w", err)
	}
	if h.Sealed {
		if err := c.Put(ctx, "sys/unseal", map[string]string{"key": k.Unseal}, nil); err != nil {
			return err
		}
	}
	return c.Await(ctx, "active", func(h api.Health) bool {
		return h.Initialized && !h.Sealed && !h.Standby
	})
}
