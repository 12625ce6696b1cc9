package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/strongroom/strongroom/cmd/driver/internal/kube"
	"github.com/strongroom/strongroom/cmd/driver/internal/metrics"
	"github.com/strongroom/strongroom/cmd/driver/internal/registration"
	"github.com/strongroom/strongroom/cmd/driver/internal/tmpfs"
	"github.com/strongroom/strongroom/pkg/csi"
	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(2) // parse has said why
	}
	if o.version {
		printVersion(os.Stdout)
		return
	}
	log := o.logger(os.Stderr)
	klog.SetSlogLogger(log)
	ctrl.SetLogger(klog.Background())
	for _, warning := range o.warnings {
		log.Warn(warning)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	err = run(ctx, o, log)
	stop()
	if err != nil {
		log.Error("driver stopped", slog.String("err", err.Error()))
		os.Exit(1)
	}
}

// run makes the parts and keeps them going until ctx ends or one fails.
func run(ctx context.Context, o *options, log *slog.Logger) error {
	config, err := o.kubeConfig()
	if err != nil {
		return fmt.Errorf("find the API server: %w", err)
	}
	cluster, err := kube.New(config, o.nodeID, userAgent())
	if err != nil {
		return err
	}
	meter, err := metrics.New(ctrlmetrics.Registry)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	if err := makeSocketDir(o.providerDirs(), o.providerSocketGID); err != nil {
		return err
	}
	source, err := provider.NewClient(provider.ClientConfig{
		Dirs: o.providerDirs(), MaxResponse: o.maxResponse, Timeout: providerTimeout, Concurrency: providerConcurrency, Log: log,
	})
	if err != nil {
		return err
	}
	defer func() { _ = source.Close() }()
	volumes, err := rotation.New(rotation.Config{
		Source: source, Cluster: cluster, Files: tmpfs.New(log), Meter: meter, AllowOverrides: o.allowOverrides, Log: log,
	})
	if err != nil {
		return err
	}
	server, err := csi.New(csi.Config{
		Endpoint: o.endpoint, DriverName: o.driverName, Version: buildVersion(), NodeID: o.nodeID,
		Volumes: volumes, Rejected: meter.Rejected, Log: log,
	})
	if err != nil {
		return err
	}
	return serve(ctx, o, log, volumes, server, cluster)
}

func serve(ctx context.Context, o *options, log *slog.Logger, volumes *rotation.Volumes, server *csi.Server, cluster *kube.Cluster) error {
	socket, err := server.Listen(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return server.Serve(ctx, socket) })
	group.Go(func() error { return volumes.Run(ctx) })
	ready := []check{{"class lookup", cluster.Reachable}}
	if o.kubeletPath != "" {
		registrar, err := registration.New(registration.Config{
			Dir: o.registrationDir, DriverName: o.driverName, Endpoint: o.kubeletPath, Log: log,
		})
		if err != nil {
			return err
		}
		group.Go(func() error { return registrar.Run(ctx) })
		ready = append(ready, check{"registration", func(context.Context) error { return registrar.Registered() }})
	}
	live := []check{{"csi socket", server.Probe}}
	for addr, mux := range pages(o, live, append(live, ready...)) {
		group.Go(func() error { return serveHTTP(ctx, addr, mux) })
	}
	log.Info("serving", slog.String("path", o.endpoint), slog.String("node", o.nodeID), slog.String("version", buildVersion()))
	return group.Wait()
}
