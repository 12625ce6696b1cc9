package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"

	"github.com/strongroom/strongroom/test/internal/ground/build"
	"github.com/strongroom/strongroom/test/vault/internal/postgres"
	"github.com/strongroom/strongroom/test/vault/internal/setup"
)

func (t *tool) lock(ctx context.Context) (func(), error) {
	return t.run.Lock(ctx, func() { t.log.Say("wait for another tool that works on %s", t.run) })
}

func (t *tool) build(ctx context.Context, _ []string) error {
	if os.Geteuid() == 0 { // who cannot install it can build all the same
		if _, err := postgres.Need(ctx, t.log); err != nil {
			return err
		}
	}
	_, err := t.binaries(ctx)
	return err
}

// kubectl is the one of the test cluster, or else the user's.
func kubectl(cache *build.Cache) (string, error) {
	if _, err := os.Stat(cache.Bin("kubectl")); err == nil {
		return cache.Bin("kubectl"), nil
	}
	path, err := exec.LookPath("kubectl")
	if err != nil {
		return "", fmt.Errorf("%w; install it or build it with test/cluster", err)
	}
	return path, nil
}

// binaries builds Vault with its minimal set of engines. The module's go.mod
// lacks what optional plugins need, so the go command may complete it: it
// works on a copy. The plugins are programs of their own: Vault stays as it is
// when one is added.
func (t *tool) binaries(ctx context.Context) (*build.Cache, error) {
	cache, err := build.Open(t.log)
	if err != nil {
		return nil, err
	}
	return cache, cache.Need(ctx,
		build.Set{
			Name: "vault-plugin", Module: "vault/plugin", Binaries: []string{setup.AuthPlugin},
			Args: []string{"install", "-trimpath", "-ldflags", "-s -w", "tool"},
		},
		build.Set{
			Name: "vault-postgresql", Module: "vault/server", Binaries: []string{setup.DatabasePlugin},
			Args: []string{
				"build", "-mod=mod", "-trimpath", "-ldflags", "-s -w", "-o", "@BIN/" + setup.DatabasePlugin,
				"github.com/hashicorp/vault/plugins/database/postgresql/postgresql-database-plugin",
			},
		},
		build.Set{
			Name: "vault", Module: "vault/server", Binaries: []string{"vault"},
			Args: []string{"build", "-mod=mod", "-tags", "minimal", "-trimpath", "-ldflags", "-s -w", "-o", "@BIN/vault", "github.com/hashicorp/vault"},
		})
}
