package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"golang.org/x/sync/errgroup"
)

type options struct {
	config                                  cloud.Config
	listen, cluster, metadata, nmi, control string
	networks                                string
	state, out                              string
}

func main() {
	var o options
	flag.StringVar(&o.listen, "listen", "127.0.0.1:8443", "where authority and vaults listen, with TLS")
	flag.StringVar(&o.metadata, "metadata", "", "where the metadata endpoint listens, without TLS; 169.254.169.254:80 on a node; none if empty")
	flag.StringVar(&o.cluster, "cluster", "", "where the API server and the token proxy of an AKS cluster listen, with TLS; none if empty")
	flag.StringVar(&o.nmi, "nmi", "", "where the NMI of pod identity listens, without TLS; 127.0.0.1:2579 on a node; none if empty")
	flag.StringVar(&o.networks, "metadata-in", "", "processes, with commas between, in whose networks metadata endpoint and NMI listen; in this one's if empty")
	flag.StringVar(&o.control, "control", "127.0.0.1:8444", "where tests give orders, without TLS: the path of a unix socket, or an address on loopback")
	flag.StringVar(&o.config.Login, "login", "login.azure.test", "host name of the authority")
	flag.StringVar(&o.config.Suffix, "suffix", "vault.azure.test", "what follows the name of a vault")
	flag.IntVar(&o.config.Port, "port", 0, "the port that clients dial, if it is not that of --listen")
	flag.StringVar(&o.config.APIVersion, "api-version", "7.4", "the version that vaults understand")
	flag.StringVar(&o.state, "state", "", "JSON file with what the cloud holds at first")
	flag.StringVar(&o.out, "out", ".", "folder for ca.pem, cluster.pem and stack.json, the definition of the cloud for AzureStackCloud")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "azure:", err)
		os.Exit(1)
	}
}

// run answers until ctx ends. The files are there once it listens.
func run(ctx context.Context, o options) error {
	at, err := listen(ctx, o)
	if err != nil {
		return err
	}
	defer at.close()
	if o.config.Port == 0 {
		if address, ok := at.TLS.Addr().(*net.TCPAddr); ok {
			o.config.Port = address.Port
		}
	}
	if o.config.State, err = load(o.state); err != nil {
		return err
	}
	o.config.Log = slog.New(slog.NewJSONHandler(os.Stderr, nil))
	azure, err := cloud.New(o.config)
	if err != nil {
		return err
	}
	stack, err := json.MarshalIndent(azure.Stack(), "", "  ")
	if err != nil {
		return err
	}
	for name, text := range map[string][]byte{"ca.pem": azure.CA(), "cluster.pem": azure.ClusterCA(), "stack.json": stack} {
		if err := place(filepath.Join(o.out, name), text); err != nil {
			return err
		}
	}
	o.config.Log.Info("serving", slog.String("authority", azure.Authority()), slog.String("vaults", azure.Resource()))
	return serve(ctx, azure, at)
}

// serve answers everywhere until ctx ends.
func serve(ctx context.Context, azure *cloud.Cloud, at listeners) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return azure.Serve(ctx, at.Listeners) })
	for _, node := range at.nodes {
		group.Go(func() error { return azure.Serve(ctx, node) })
	}
	return group.Wait()
}

func load(file string) (cloud.State, error) {
	var state cloud.State
	if file == "" {
		return state, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return state, err
	}
	if err := json.Unmarshal(text, &state); err != nil {
		return state, fmt.Errorf("read the state of the cloud in %s: %w", file, err)
	}
	return state, nil
}

// place puts a whole file there, for somebody who waits for it.
func place(file string, text []byte) error {
	half := file + ".new"
	if err := os.WriteFile(half, text, 0o644); err != nil { //nolint:gosec // everybody may read a CA
		return err
	}
	return os.Rename(half, file)
}
