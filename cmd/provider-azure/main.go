package main

import (
	"context"
	"flag"
	"log/slog"
	"os"

	"github.com/strongroom/strongroom/cmd/provider-azure/internal/azure"
	"github.com/strongroom/strongroom/provider"
)

func main() {
	cfg := azure.Config{Getenv: os.Getenv}
	cfg.Flags.Register(flag.CommandLine)
	provider.Main("azure", func(_ context.Context, log *slog.Logger) (provider.Provider, error) {
		cfg.Log = log
		return azure.New(cfg)
	})
}
