package stand

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// Binary is a released driver.
type Binary struct {
	path       string
	kubeletDir bool // it has that flag, which older ones lack
}

// Released takes a copy of a driver, so that a build meanwhile changes nothing.
func Released(ctx context.Context, path string) (Binary, error) {
	b := Binary{path: filepath.Join(Memory, "driver")}
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(b.path, data, 0o700) //nolint:gosec // G306: a program
	}
	if err != nil {
		return b, fmt.Errorf("copy the driver: %w", err)
	}
	help, _ := exec.CommandContext(ctx, b.path, "-h").CombinedOutput()
	if !strings.Contains(string(help), "-drivername") {
		return b, fmt.Errorf("ask %s for its flags: %s", path, help)
	}
	b.kubeletDir = strings.Contains(string(help), "\n  -kubelet-dir ")
	return b, nil
}

// DriverConfig configures a driver.
type DriverConfig struct {
	Binary Binary
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
	args = append(args, cfg.Binary.path, "--endpoint=unix://"+n.Socket(), "--nodeid=n1", "--kubeconfig="+n.kubeconfig(),
		"--provider-volume="+n.providers(), "--additional-provider-volume-paths=", "--health-addr=", "--metrics-addr="+cfg.MetricsAddr)
	if cfg.Binary.kubeletDir {
		args = append(args, "--kubelet-dir="+n.Dir)
	}
	p, err := start(append(args, cfg.Flags...), n.Dir+"/driver.log")
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
