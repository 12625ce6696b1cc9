//go:build attack

package attack

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// TestStaleSockets: after a reboot, all sockets are there and nobody listens, also one of
// the provider in the folder of old, which is searched first. The driver starts, registers,
// and says soon that the provider does not answer; once it does, it is found.
func TestStaleSockets(t *testing.T) {
	l := alone(t)
	l.kill(t)
	legacy, registration := filepath.Join(l.node.Dir, "legacy"), filepath.Join(l.node.Dir, "registration")
	l.config.Flags = append(l.config.Flags,
		"--additional-provider-volume-paths="+legacy, "--kubelet-registration-path="+l.node.Socket(), "--registration-dir="+registration)
	register := filepath.Join(registration, stand.DriverName+"-reg.sock")
	for _, path := range []string{l.node.Socket(), register, filepath.Join(legacy, oddName+".sock"), l.node.ProviderSocket(oddName)} {
		if err := die(t.Context(), path); err != nil {
			t.Fatal(err)
		}
	}
	l.restart(t)
	l.becomes(t, "registered", func(ctx context.Context) error { return registers(ctx, register) })
	v := l.oddVolume(t)
	took, err := stand.Took(func() error { return l.driver.Publish(t.Context(), v) })
	if status.Code(err) != codes.Unavailable || strings.Contains(err.Error(), "\n") || took > 30*time.Second {
		t.Errorf("publish took %v: %v, want Unavailable in some seconds, and in a line", took, err)
	}
	t.Logf("after %v: %v", took, err)
	l.returns(t, v)
	l.kill(t)
	l.restart(t) // with the dead file still in the folder of old
	took, err = stand.Took(func() error { return l.driver.PublishAsKubelet(t.Context(), v) })
	if err != nil || took > 30*time.Second {
		t.Errorf("publish took %v: %v", took, err)
	}
	l.unpublish(t, v)
}

// die leaves a socket at which nobody listens.
func die(ctx context.Context, path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	_ = os.Remove(path)
	var config net.ListenConfig
	l, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return l.Close()
}

// registers asks the driver who it is, as kubelet does before it registers a plugin.
func registers(ctx context.Context, socket string) (err error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	return conn.Invoke(ctx, "/pluginregistration.Registration/GetInfo", &emptypb.Empty{}, &emptypb.Empty{})
}
