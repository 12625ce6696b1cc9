package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

func main() {
	address := flag.String("csi-address", "/csi/csi.sock", "socket of the driver, here")
	path := flag.String("kubelet-registration-path", "", "the same socket, as kubelet sees it")
	dir := flag.String("registration-dir", "/registration", "where kubelet looks for drivers")
	flag.Parse()
	if err := run(*address, *path, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "registrar:", err)
		os.Exit(1)
	}
}

// run removes the registration socket at its end, as the sidecar does: kubelet then
// forgets the driver.
func run(address, path, dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	name, err := nameOf(ctx, address)
	if err != nil {
		return fmt.Errorf("ask the driver at %s for its name: %w", address, err)
	}
	socket := filepath.Join(dir, name+"-reg.sock")
	if err = os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove an old registration socket: %w", err)
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", socket)
	if err != nil {
		return fmt.Errorf("listen for kubelet: %w", err)
	}
	g := grpc.NewServer()
	registerapi.RegisterRegistrationServer(g, registrar{info: &registerapi.PluginInfo{
		Type: registerapi.CSIPlugin, Name: name, Endpoint: path, SupportedVersions: []string{"1.0.0"},
	}})
	defer context.AfterFunc(ctx, g.Stop)()
	if err := g.Serve(l); ctx.Err() == nil {
		return fmt.Errorf("serve kubelet: %w", err)
	}
	return nil
}

// nameOf waits for the driver.
func nameOf(ctx context.Context, address string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := grpc.NewClient("unix://"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	info, err := csi.NewIdentityClient(conn).GetPluginInfo(ctx, &csi.GetPluginInfoRequest{}, grpc.WaitForReady(true))
	return info.GetName(), err
}

// registrar answers kubelet.
type registrar struct{ info *registerapi.PluginInfo }

// GetInfo implements the plugin registration API.
func (r registrar) GetInfo(context.Context, *registerapi.InfoRequest) (*registerapi.PluginInfo, error) {
	return r.info, nil
}

// NotifyRegistrationStatus implements the plugin registration API.
func (r registrar) NotifyRegistrationStatus(_ context.Context, s *registerapi.RegistrationStatus) (*registerapi.RegistrationStatusResponse, error) {
	fmt.Fprintln(os.Stderr, "registered:", s.GetPluginRegistered(), s.GetError())
	return &registerapi.RegistrationStatusResponse{}, nil
}
