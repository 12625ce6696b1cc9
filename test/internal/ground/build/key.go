package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// key names everything that a set is made from.
func key(ctx context.Context, s Set, module string) (string, error) {
	h := sha256.New()
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION", "GOOS", "GOARCH")
	cmd.Dir = module
	version, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ask go for its version: %w", err)
	}
	fmt.Fprintf(h, "%s\n%q\n", version, s.Args)
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(b), b)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (c *Cache) keyFile(s Set) string {
	return filepath.Join(c.Dir, "bin", s.Name+".key")
}

func (c *Cache) fresh(s Set, want string) bool {
	have, err := os.ReadFile(c.keyFile(s))
	return err == nil && strings.TrimSpace(string(have)) == want && c.complete(s) == nil
}

func (c *Cache) args(s Set) []string {
	args := make([]string, len(s.Args))
	for i, a := range s.Args {
		args[i] = strings.ReplaceAll(a, "@BIN", filepath.Join(c.Dir, "bin"))
	}
	return args
}

// copyModule puts go.mod and go.sum into the cache, so that the go command
// never writes into the checkout.
func (c *Cache) copyModule(s Set, module string) (string, error) {
	dir := filepath.Join(c.Dir, "src", s.Name)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return "", err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(module, name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// lock keeps two tools from writing the same binaries. The kernel releases it
// when its holder dies.
func (c *Cache) lock(ctx context.Context) (unlock func(), err error) {
	f, err := os.Open(filepath.Join(c.Dir, "bin"))
	if err != nil {
		return nil, err
	}
	for said := false; ; said = true {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if !said {
			c.Log.Say("wait for another tool that builds into %s", c.Dir)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// source finds the folder test of the checkout, upwards from the working
// folder or from this program.
func source() (string, error) {
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			root := filepath.Join(dir, "test")
			if _, err := os.Stat(filepath.Join(root, "cluster", "kubernetes", "go.mod")); err == nil {
				return root, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", fmt.Errorf("find test/cluster/kubernetes/go.mod above %q: run this inside a checkout", starts)
}
