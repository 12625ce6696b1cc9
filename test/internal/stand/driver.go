package stand

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// DriverConfig configures a driver.
type DriverConfig struct {
	// Binary is the released driver.
	Binary string
	Node   Node
	// Flags are added to those that the stand needs.
	Flags []string
	// Before comes before the driver's command line: a program that ends by becoming the driver.
	Before []string
	// MetricsAddr is where the driver serves metrics; empty for nowhere.
	MetricsAddr string
}

// Driver is a running driver.
type Driver struct {
	*process

	conn *grpc.ClientConn
}

// StartDriver starts a driver and waits until it answers.
func StartDriver(ctx context.Context, cfg DriverConfig) (*Driver, error) {
	n := cfg.Node
	args := append([]string{}, cfg.Before...)
	args = append(args, cfg.Binary, "--endpoint=unix://"+n.socket(), "--nodeid=n1", "--kubeconfig="+n.kubeconfig(),
		"--provider-volume="+n.providers(), "--additional-provider-volume-paths=", "--health-addr=", "--metrics-addr="+cfg.MetricsAddr)
	if knows(ctx, cfg.Binary, "kubelet-dir") {
		args = append(args, "--kubelet-dir="+n.Dir)
	}
	p, err := start(append(args, cfg.Flags...), n.Dir+"/driver.log")
	if err != nil {
		return nil, err
	}
	d := &Driver{process: p}
	if err = d.until(ctx, func(ctx context.Context) error { return d.connect(ctx, n.socket()) }); err != nil {
		_ = d.Kill()
		return nil, fmt.Errorf("wait for the driver: %w", err)
	}
	return d, nil
}

// knows says whether the driver has a flag, which older ones lack.
func knows(ctx context.Context, binary, name string) bool {
	help, _ := exec.CommandContext(ctx, binary, "-h").CombinedOutput()
	return strings.Contains(string(help), "\n  -"+name+" ")
}

func (d *Driver) connect(ctx context.Context, socket string) error {
	var dialer net.Dialer
	first, err := dialer.DialContext(ctx, "unix", socket) // gRPC would wait before it tries again
	if err != nil {
		return err
	}
	_ = first.Close()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	if _, err = csi.NewIdentityClient(conn).Probe(ctx, &csi.ProbeRequest{}); err != nil {
		_ = conn.Close()
		return err
	}
	d.conn = conn
	return nil
}

// Close ends the connection; the driver goes on.
func (d *Driver) Close() error { return d.conn.Close() }

// Publish calls as kubelet does.
func (d *Driver) Publish(ctx context.Context, v Volume) error {
	_, err := csi.NewNodeClient(d.conn).NodePublishVolume(ctx, v.request())
	return err
}

// Unpublish calls as kubelet does.
func (d *Driver) Unpublish(ctx context.Context, v Volume) error {
	_, err := csi.NewNodeClient(d.conn).NodeUnpublishVolume(ctx, &csi.NodeUnpublishVolumeRequest{VolumeId: v.ID(), TargetPath: v.Target()})
	return err
}

// Took times a call.
func Took(call func() error) (time.Duration, error) {
	begin := time.Now()
	err := call()
	return time.Since(begin), err
}
