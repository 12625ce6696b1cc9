package stand

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Released takes a copy of a driver, so that a build meanwhile changes nothing.
func Released(path string) (string, error) {
	data, err := os.ReadFile(path)
	own := filepath.Join(Memory, "driver")
	if err == nil {
		err = os.WriteFile(own, data, 0o700) //nolint:gosec // G306: a program
	}
	if err != nil {
		return "", fmt.Errorf("copy the driver: %w", err)
	}
	return own, nil
}

// DriverConfig configures a driver.
type DriverConfig struct {
	// Binary is the driver, of which Released made a copy.
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
	args = append(args, cfg.Binary, "--endpoint=unix://"+n.Socket(), "--nodeid="+NodeID, "--kubeconfig="+n.kubeconfig(),
		"--provider-volume="+n.providers(), "--additional-provider-volume-paths=", "--kubelet-pods-dir="+n.pods(), "--health-addr=", "--metrics-addr="+cfg.MetricsAddr)
	p, err := n.start(append(args, cfg.Flags...), n.Dir+"/driver.log")
	if err != nil {
		return nil, err
	}
	d := &Driver{process: p}
	if err = d.until(ctx, func(ctx context.Context) error { return d.connect(ctx, n.Socket()) }); err != nil {
		_ = d.Kill()
		return nil, fmt.Errorf("wait for the driver: %w", err)
	}
	return d, nil
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

// Identity asks the driver who it is.
func (d *Driver) Identity() csi.IdentityClient { return csi.NewIdentityClient(d.conn) }

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

// Pids lists the processes of the node's driver.
func (n Node) Pids() ([]int, error) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(line), n.Socket()) {
			continue // it ended meanwhile, or is another's
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err != nil {
			return nil, err
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// Took times a call.
func Took(call func() error) (time.Duration, error) {
	begin := time.Now()
	err := call()
	return time.Since(begin), err
}
