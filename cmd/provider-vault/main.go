package main

import (
	"context"
	"crypto/rand"
	"flag"
	"log/slog"
	"os"

	"github.com/strongroom/strongroom/cmd/provider-vault/internal/kube"
	"github.com/strongroom/strongroom/cmd/provider-vault/internal/vault"
	"github.com/strongroom/strongroom/provider"
)

func main() {
	cfg := vault.Config{Getenv: os.Getenv}
	cfg.Flags.Register(flag.CommandLine)
	provider.Main("vault", func(ctx context.Context, log *slog.Logger) (provider.Provider, error) {
		cfg.Log = log
		if err := connectKubernetes(&cfg); err != nil {
			return nil, err
		}
		return vault.New(ctx, cfg)
	})
}

// connectKubernetes gives the provider what comes from the cluster. With a key of its
// own and no right to ask for tokens, it runs outside of one.
func connectKubernetes(cfg *vault.Config) error {
	name := cfg.Flags.HMACSecretName
	if name == "" {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		cfg.VersionKey = func(context.Context) []byte { return key }
		if !cfg.Flags.AllowTokenRequest {
			return nil
		}
	}
	kube.LogTo(cfg.Log)
	where, err := kube.InCluster(os.Getenv)
	if err != nil {
		return err
	}
	client, err := kube.New(where)
	if err != nil {
		return err
	}
	if name != "" {
		cfg.VersionKey = client.VersionKey(name, cfg.Log).Get
	}
	if cfg.Flags.AllowTokenRequest {
		cfg.RequestToken = client.RequestToken
	}
	return nil
}
