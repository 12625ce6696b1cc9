package registration

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// csiVersion is the version of the CSI specification that kubelet checks for.
const csiVersion = "1.0.0"

// Config configures a Registrar.
type Config struct {
	// Dir is where kubelet looks for registration sockets.
	Dir string
	// DriverName is the name of the CSI driver.
	DriverName string
	// Endpoint is the path of the CSI socket as kubelet sees it.
	Endpoint string
	Log      *slog.Logger
}

// Registrar answers kubelet's questions about the driver, and remembers what
// kubelet made of the answers.
type Registrar struct {
	registerapi.UnimplementedRegistrationServer

	cfg Config

	mu      sync.Mutex
	refused error // nil once kubelet has registered the driver
}

// New returns a Registrar.
func New(cfg Config) (*Registrar, error) {
	switch {
	case cfg.Dir == "", cfg.DriverName == "", cfg.Endpoint == "":
		return nil, errors.New("registration directory, driver name and endpoint are required")
	case cfg.Log == nil:
		return nil, errors.New("log is required")
	}
	return &Registrar{cfg: cfg, refused: errors.New("kubelet has not registered the driver yet")}, nil
}

// Run keeps the registration socket until ctx ends. The CSI socket must answer
// before. The file is left behind at the end: kubelet takes its removal for the
// driver's, and a successor replaces it.
func (r *Registrar) Run(ctx context.Context) error {
	l, err := r.listen(ctx)
	if err != nil {
		return err
	}
	g := grpc.NewServer()
	registerapi.RegisterRegistrationServer(g, r)
	stopped := context.AfterFunc(ctx, g.Stop)
	defer stopped()
	if err := g.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve the registration socket: %w", err)
	}
	return nil
}

func (r *Registrar) listen(ctx context.Context) (net.Listener, error) {
	path := filepath.Join(r.cfg.Dir, r.cfg.DriverName+"-reg.sock")
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove an old registration socket: %w", err)
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for kubelet's plugin registration: %w", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) //nolint:forcetypeassert // network "unix"
	return l, nil
}

// GetInfo implements the plugin registration API.
func (r *Registrar) GetInfo(context.Context, *registerapi.InfoRequest) (*registerapi.PluginInfo, error) {
	return &registerapi.PluginInfo{
		Type: registerapi.CSIPlugin, Name: r.cfg.DriverName, Endpoint: r.cfg.Endpoint, SupportedVersions: []string{csiVersion},
	}, nil
}

// NotifyRegistrationStatus implements the plugin registration API. Kubelet tries
// again by itself after a failure.
func (r *Registrar) NotifyRegistrationStatus(ctx context.Context, s *registerapi.RegistrationStatus) (*registerapi.RegistrationStatusResponse, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s.GetPluginRegistered() {
		r.refused = nil
		r.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "kubelet registered the driver")
	} else {
		r.refused = fmt.Errorf("kubelet refused to register the driver: %s", s.GetError())
		r.cfg.Log.LogAttrs(ctx, slog.LevelError, "kubelet refused to register the driver", slog.String("err", s.GetError()))
	}
	return &registerapi.RegistrationStatusResponse{}, nil
}

// Registered returns nil if kubelet has registered the driver, else the reason.
func (r *Registrar) Registered() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}
