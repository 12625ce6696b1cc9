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
	if err = makeSocketDir(o.providerDirs(), o.providerSocketGID); err != nil {
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
	return parts{o, volumes, server, cluster, log}.serve(ctx)
}

// parts are what runs side by side.
type parts struct {
	*options

	volumes *rotation.Volumes
	server  *csi.Server
	cluster *kube.Cluster
	log     *slog.Logger
}

func (p parts) serve(ctx context.Context) error {
	socket, err := p.server.Listen(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.server.Serve(ctx, socket) })
	group.Go(func() error { return p.volumes.Run(ctx) })
	ready := []check{{"class lookup", p.cluster.Reachable}}
	if p.kubeletPath != "" {
		registrar, err := registration.New(registration.Config{
			Dir: p.registrationDir, DriverName: p.driverName, Endpoint: p.kubeletPath, Log: p.log,
		})
		if err != nil {
			return err
		}
		group.Go(func() error { return registrar.Run(ctx) })
		ready = append(ready, check{"registration", func(context.Context) error { return registrar.Registered() }})
	}
	live := []check{{"csi socket", p.server.Probe}, {"workers", p.volumes.Alive}}
	for addr, mux := range pages(p.options, live, append(live, ready...)) {
		group.Go(func() error { return serveHTTP(ctx, addr, mux) })
	}
	p.log.Info("serving", slog.String("path", p.endpoint), slog.String("node", p.nodeID), slog.String("version", buildVersion()))
	return group.Wait()
}
