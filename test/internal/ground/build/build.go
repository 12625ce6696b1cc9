package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/strongroom/strongroom/test/internal/ground/step"
)

// Set is what one module makes.
type Set struct {
	Name     string   // also the name of the key file
	Module   string   // folder of go.mod and go.sum, below the folder test
	Binaries []string // what must exist afterwards
	Args     []string // for the go command; "@BIN" stands for the folder of the binaries
}

// Cache is the place where binaries are kept.
type Cache struct {
	Dir string
	Log *step.Log
}

// Open returns the cache of $STRONGROOM_CACHE, or the one under the home
// folder.
func Open(log *step.Log) (*Cache, error) {
	dir := os.Getenv("STRONGROOM_CACHE")
	if dir == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, fmt.Errorf("find the cache folder: %w", err)
		}
		dir = filepath.Join(home, ".cache", "strongroom")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the cache folder: %w", err)
	}
	return &Cache{Dir: dir, Log: log}, nil
}

// Bin returns the path of a binary, whether it exists or not.
func (c *Cache) Bin(name string) string {
	return filepath.Join(c.Dir, "bin", name)
}

// Need makes the sets that are missing or stale.
func (c *Cache) Need(ctx context.Context, sets ...Set) error {
	root, err := source()
	if err != nil {
		return err
	}
	if err = os.MkdirAll(filepath.Join(c.Dir, "bin"), 0o750); err != nil {
		return fmt.Errorf("make the cache folder: %w", err)
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for _, s := range sets {
		if err := c.need(ctx, s, filepath.Join(root, s.Module)); err != nil {
			return fmt.Errorf("build %s: %w", s.Name, err)
		}
	}
	return nil
}

func (c *Cache) need(ctx context.Context, s Set, module string) error {
	want, err := key(ctx, s, module)
	if err != nil {
		return err
	}
	if c.fresh(s, want) {
		return nil
	}
	dir, err := c.copyModule(s, module)
	if err != nil {
		return err
	}
	err = c.Log.Do("build "+s.Name+" (once; the first time takes minutes)", func() error {
		return c.compile(ctx, s, dir)
	})
	if err != nil {
		return err
	}
	return os.WriteFile(c.keyFile(s), []byte(want+"\n"), 0o600)
}

// compile runs the go command. Should this process be killed, so is the
// compiler: a build must not go on behind the back of whoever stopped it.
func (c *Cache) compile(ctx context.Context, s Set, dir string) error {
	cmd := exec.CommandContext(ctx, "go", c.args(s)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOBIN="+filepath.Join(c.Dir, "bin"))
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) } // it stops its compilers
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go %s: %w\n%s", s.Args[0], err, tail(out, 4000))
	}
	return c.complete(s)
}

func (c *Cache) complete(s Set) error {
	var missing []error
	for _, b := range s.Binaries {
		if _, err := os.Stat(c.Bin(b)); err != nil {
			missing = append(missing, err)
		}
	}
	return errors.Join(missing...)
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}
