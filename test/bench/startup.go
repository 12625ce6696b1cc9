package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/strongroom/strongroom/test/internal/stand"
)

const starts = 10

// started is how long it took from the start of the process.
type started struct {
	answers    []time.Duration // until it answered on the CSI socket
	registered []time.Duration // until it was registered by a kubelet that looks all the time
}

// startUps starts the driver again and again.
func (b *bench) startUps(ctx context.Context, f *figures) error {
	for range starts {
		if err := b.startUp(ctx, &f.start); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) startUp(ctx context.Context, s *started) error {
	dir := filepath.Join(stand.Memory, "registration")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	begin := time.Now()
	return b.with(ctx, func(d *stand.Driver) error {
		s.answers = append(s.answers, time.Since(begin))
		if err := register(ctx, dir); err != nil {
			return fmt.Errorf("register the driver: %w; its log ends with\n%s", err, d.Log())
		}
		s.registered = append(s.registered, time.Since(begin))
		return os.RemoveAll(dir)
	}, "--kubelet-registration-path="+b.node.Socket(), "--registration-dir="+dir)
}

// register does what kubelet does with a socket in its folder of registrations.
func register(ctx context.Context, dir string) error {
	var sockets []string
	if err := poll(ctx, func() (found bool, err error) {
		sockets, err = filepath.Glob(filepath.Join(dir, "*.sock"))
		return len(sockets) > 0, err
	}); err != nil {
		return fmt.Errorf("wait for the socket: %w", err)
	}
	conn, err := grpc.NewClient("unix://"+sockets[0], grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	// Messages that are written as those of kubelet's API are: without a field, and with a boolean as the first one.
	const service = "/pluginregistration.Registration/"
	err = conn.Invoke(ctx, service+"GetInfo", &emptypb.Empty{}, &emptypb.Empty{}, grpc.WaitForReady(true))
	if err == nil {
		err = conn.Invoke(ctx, service+"NotifyRegistrationStatus", wrapperspb.Bool(true), &emptypb.Empty{})
	}
	return errors.Join(err, conn.Close())
}

// startTable is Markdown.
func (f figures) startTable(root string) (string, error) {
	var t strings.Builder
	fmt.Fprintf(&t, "\n%s. %d starts of the driver.\n\n| from the start of the process | p50 | max | aim |\n|---|---:|---:|---:|\n", machine(), starts)
	for _, line := range []struct {
		what string
		took []time.Duration
		aim  string
	}{
		{"until the CSI socket answers", f.start.answers, "-"},
		{"until it is registered", f.start.registered, "2000 ms"},
	} {
		slices.Sort(line.took)
		fmt.Fprintf(&t, "| %s | %.0f ms | %.0f ms | %s |\n", line.what, millis(line.took[len(line.took)/2]), millis(line.took[len(line.took)-1]), line.aim)
	}
	fmt.Fprintf(&t, "\n| program | binary | image |\n|---|---:|---:|\n")
	for _, name := range []string{"driver", "provider-vault", "provider-azure"} {
		binary, err := size(filepath.Join(root, "bin/linux", name))
		if err != nil {
			return "", err
		}
		image, err := size(filepath.Join(root, "bin/images", name+".tar"))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&t, "| %s | %s | %s |\n", name, binary, image)
	}
	return t.String(), nil
}

// size is that of a file; images need not have been made.
func size(path string) (string, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "-", nil
	case err != nil:
		return "", err
	}
	return fmt.Sprintf("%.1f MB", float64(info.Size())/1e6), nil
}
