package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/strongroom/strongroom/cmd/driver/internal/audit"
	"github.com/strongroom/strongroom/cmd/driver/internal/confine"
	"github.com/strongroom/strongroom/cmd/driver/internal/footprint"
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
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	log := o.logger(os.Stderr)
	klog.SetSlogLogger(log)
	ctrllog.SetLogger(klog.Background())
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
	if err := reduce(log); err != nil {
		return err
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
	p, err := assemble(o, source, log)
	if err != nil {
		return err
	}
	return p.serve(ctx)
}

// reduce confines the process. Only root has what is to be given up.
func reduce(log *slog.Logger) error {
	err := confine.Reduce()
	if errors.Is(err, confine.ErrUnsupported) || err != nil && os.Geteuid() != 0 {
		log.Warn("this process keeps more rights than it needs", slog.String("err", err.Error()))
		return nil
	}
	if err != nil {
		return fmt.Errorf("confine the driver: %w", err)
	}
	return nil
}

// parts are what runs side by side.
type parts struct {
	*options

	source  *provider.Client
	volumes *rotation.Volumes
	server  *csi.Server
	cluster *kube.Cluster
	log     *slog.Logger
}

func assemble(o *options, source *provider.Client, log *slog.Logger) (*parts, error) {
	meter, err := metrics.New(ctrlmetrics.Registry)
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	cluster, secrets, err := kubernetes(o, meter)
	if err != nil {
		return nil, err
	}
	lookForHashKey(o, log)
	journal, err := openJournal(o, log)
	if err != nil {
		return nil, err
	}
	volumes, err := newVolumes(o, rotation.Config{
		Source: meter.Source(source), Cluster: cluster, Secrets: secrets, Meter: meter, Journal: journal,
		Interval: o.interval(), Node: o.nodeID, AllowOverrides: o.allowOverrides, Log: log,
	}, meter, source)
	if err != nil {
		return nil, err
	}
	server, err := csi.New(csi.Config{
		Endpoint: o.endpoint, DriverName: o.driverName, Version: provider.BuildVersion(), NodeID: o.nodeID,
		Volumes: volumes, TokensInContext: cluster.TokensInContext, Rejected: meter.Rejected, Log: log,
	})
	if err != nil {
		return nil, err
	}
	return &parts{o, source, volumes, server, cluster, log}, nil
}

// kubernetes returns the two sides of the API server.
func kubernetes(o *options, meter *metrics.Volumes) (*kube.Cluster, *kube.Secrets, error) {
	api, err := o.kubeConfig()
	if err != nil {
		return nil, nil, fmt.Errorf("find the API server: %w", err)
	}
	api.Wrap(meter.Transport)
	config := kube.Config{API: api, Node: o.nodeID, DriverName: o.driverName, UserAgent: userAgent(), ContentHashKeyFile: o.contentHashKey}
	cluster, err := kube.New(config)
	if err != nil {
		return nil, nil, err
	}
	secrets, err := kube.NewSecrets(config)
	return cluster, secrets, err
}

// lookForHashKey says if there is no key of content hashes. Kubelet may bring it later,
// and it is no reason to mount nothing.
func lookForHashKey(o *options, log *slog.Logger) {
	if o.contentHashKey == "" {
		return
	}
	if _, err := kube.ReadHashKey(o.contentHashKey); err != nil {
		log.Warn("secrets are filled without a content hash until there is a key: make the secret that "+
			"manifests/components/content-hash names", slog.String("err", err.Error()))
	}
}

// openJournal returns the audit log, or nil if there is to be none. It stays open as
// long as the process lives.
func openJournal(o *options, log *slog.Logger) (rotation.Journal, error) {
	if o.auditLog == "" {
		return nil, nil //nolint:nilnil // none is a journal too
	}
	return audit.Open(o.auditLog, log)
}

// newVolumes returns the volumes of this node, those of an earlier process among them.
func newVolumes(o *options, cfg rotation.Config, meter *metrics.Volumes, source *provider.Client) (*rotation.Volumes, error) {
	files, err := tmpfs.New(tmpfs.Config{
		Driver: o.driverName, Pods: o.podsDir, Staging: stagingDir(o.endpoint),
		MaxVolume: o.maxVolumeBytes, MaxNode: o.maxNodeBytes, Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	cfg.Files, cfg.Notes, cfg.Mounts = files, files, files
	volumes, err := rotation.New(cfg)
	if err != nil {
		return nil, err
	}
	if err := volumes.Scan(); err != nil { // a volume that cannot be read must not stop the others
		cfg.Log.Warn("look for volumes of an earlier process", slog.String("err", err.Error()))
	}
	return volumes, meter.Report(metrics.Sources{Report: volumes.Report, Bytes: files.Bytes, Up: source.Up})
}

func (p parts) serve(ctx context.Context) error {
	socket, err := p.server.Listen(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	group.Go(func() error {
		defer stopWork()
		err := p.server.Serve(ctx, socket)
		drain, cancel := context.WithTimeout(work, drainTime)
		defer cancel()
		p.volumes.Drain(drain) // what is not recorded now, the next process records
		return err
	})
	group.Go(func() error { return p.volumes.Run(work) })
	group.Go(func() error { return p.cluster.Watch(ctx, p.volumes, p.log) })
	ready := []check{{"class lookup", p.cluster.Reachable}, {"republish", p.cluster.Republishes}, {"providers", p.providers}}
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
	if err := footprint.Shed(); err != nil {
		p.log.Warn("this process keeps more memory than it needs", slog.String("err", err.Error()))
	}
	p.log.Info("serving", slog.String("path", p.endpoint), slog.String("node", p.nodeID), slog.String("version", provider.BuildVersion()))
	return group.Wait()
}

// providers returns an error that names providers which are known and do not answer.
func (p parts) providers(ctx context.Context) error {
	if silent := p.source.Silent(ctx); len(silent) > 0 {
		return fmt.Errorf("nobody answers at the socket of %s", strings.Join(silent, ", "))
	}
	return nil
}
