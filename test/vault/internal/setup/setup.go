package setup

import (
	"context"
	"path"
	"strings"
	"time"

	"github.com/strongroom/strongroom/test/vault/internal/api"
)

// Audit makes Vault write an audit log. Values in it are hashed.
func Audit(ctx context.Context, c *api.Client, file string) error {
	return missing(ctx, c, "sys/audit/file", map[string]any{
		"type": "file", "options": map[string]string{"file_path": file, "log_raw": "false"},
	})
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
