package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"github.com/strongroom/strongroom/cmd/provider-azure/internal/azure"
	"github.com/strongroom/strongroom/cmd/provider-azure/internal/operate"
	"github.com/strongroom/strongroom/provider"
)

func main() {
	azureConfig := azure.Config{Getenv: os.Getenv}
	azureConfig.Flags.Register(flag.CommandLine)
	var o operate.Options
	o.Register(flag.CommandLine)
	flag.Parse()
	os.Exit(run(&o, azureConfig))
}

// run returns the code to exit with.
func run(o *operate.Options, azureConfig azure.Config) int {
	if o.Version {
		return exitCode(operate.PrintVersion(os.Stdout))
	}
	cfg, err := o.Config(flag.Args(), os.Stderr)
	if err != nil {
		return exitCode(err)
	}
	cfg.Open = func(_ context.Context, log *slog.Logger) (provider.Provider, error) {
		azureConfig.Log = log
		return azure.New(azureConfig)
	}
	return provider.Run(cfg)
}

func exitCode(err error) int {
	if err != nil {
		fmt.Fprintln(os.Stderr, "provider-azure:", err)
		return 1
	}
	return 0
}
