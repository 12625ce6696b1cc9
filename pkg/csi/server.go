package csi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// stopGrace bounds the wait for calls under way when the driver is told to stop.
const stopGrace = 10 * time.Second

// Volumes is what the calls are about; [rotation.Volumes] is one.
type Volumes interface {
	Publish(ctx context.Context, v rotation.Volume) error
	Unpublish(ctx context.Context, id provider.VolumeID, target string) error
}

// Config configures a Server.
type Config struct {
	// Endpoint is unix:///path or tcp://host:port.
	Endpoint string
	// DriverName and Version are what GetPluginInfo says.
	DriverName, Version string
	// NodeID is the name of the node in Kubernetes.
	NodeID  string
	Volumes Volumes
	// TokensInContext says whether tokens in the volume context come from kubelet.
	TokensInContext func(context.Context) (bool, error)
	// Rejected counts calls that were refused before they reached Volumes; it may be nil.
	Rejected func(method string)
	Log      *slog.Logger
}

// Server answers CSI calls on a socket.
type Server struct {
	cfg              Config
	network, address string
}

// New checks the configuration; it opens nothing.
func New(cfg Config) (*Server, error) {
	switch {
	case cfg.DriverName == "":
		return nil, errors.New("driver name is required")
	case cfg.NodeID == "":
		return nil, errors.New("node id is required: set --nodeid to the node's name")
	case cfg.Volumes == nil, cfg.TokensInContext == nil, cfg.Log == nil:
		return nil, errors.New("volumes, source of tokens and log are required")
	}
	network, address, err := ParseEndpoint(cfg.Endpoint)
	if err != nil {
		return nil, err
	}
	return &Server{cfg: cfg, network: network, address: address}, nil
}

// ParseEndpoint splits unix:///path and tcp://host:port. A unix path without a
// leading slash gets one. (driver-contract 3)
func ParseEndpoint(endpoint string) (network, address string, err error) {
	scheme, address, ok := strings.Cut(endpoint, "://")
	scheme = strings.ToLower(scheme)
	switch {
	case !ok, address == "", scheme != "unix" && scheme != "tcp":
		return "", "", fmt.Errorf("endpoint %q: want unix:///path or tcp://host:port", endpoint)
	case scheme == "unix" && !strings.HasPrefix(address, "/"):
		address = "/" + address
	}
	return scheme, address, nil
}

// Listen makes the socket, in place of one that an earlier process left.
func (s *Server) Listen(ctx context.Context) (net.Listener, error) {
	if s.network == "unix" {
		if err := clearSocket(s.address); err != nil {
			return nil, err
		}
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, s.network, s.address)
	if err != nil {
		return nil, fmt.Errorf("listen on the CSI endpoint: %w", err)
	}
	if s.network == "unix" {
		if err = os.Chmod(s.address, 0o600); err != nil {
			return nil, errors.Join(fmt.Errorf("keep the CSI endpoint to root: %w", err), l.Close())
		}
	}
	return l, nil
}

func clearSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return os.MkdirAll(filepath.Dir(path), 0o750)
	case err != nil:
		return fmt.Errorf("look at the CSI socket: %w", err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("listen on %s: something that is not a socket is in the way, remove it", path)
	}
	return os.Remove(path)
}

// Serve answers calls until ctx ends. Calls under way then get 10 seconds.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	g := grpc.NewServer(grpc.ChainUnaryInterceptor(s.logged, s.guarded))
	csi.RegisterIdentityServer(g, &identity{name: s.cfg.DriverName, version: s.cfg.Version})
	csi.RegisterControllerServer(g, controller{})
	csi.RegisterNodeServer(g, &node{Config: &s.cfg})
	stopped := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(stopGrace, g.Stop)
		defer timer.Stop()
		g.GracefulStop()
	})
	defer stopped()
	if err := g.Serve(l); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve %s: %w", s.cfg.Endpoint, err)
	}
	return nil
}

// Probe asks the driver through its own endpoint whether it answers.
func (s *Server) Probe(ctx context.Context) (err error) {
	conn, err := grpc.NewClient("passthrough:///csi", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, s.network, s.address)
		}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if _, err := csi.NewIdentityClient(conn).Probe(ctx, &csi.ProbeRequest{}); err != nil {
		return fmt.Errorf("the CSI endpoint %s does not answer: %w", s.cfg.Endpoint, err)
	}
	return nil
}
