package main

import (
	"context"
	"flag"
	"log/slog"
	"os"

	"github.com/strongroom/strongroom/cmd/provider-vault/internal/vault"
	"github.com/strongroom/strongroom/provider"
)

func main() {
	cfg := vault.Config{Getenv: os.Getenv}
	cfg.Flags.Register(flag.CommandLine)
	provider.Main("vault", func(_ context.Context, log *slog.Logger) (provider.Provider, error) {
		cfg.Log = log
		return vault.New(cfg)
	})
}
