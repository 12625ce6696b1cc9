package registration

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

// TestRegistration asks as kubelet does, twice: the second process replaces the
// socket that the first leaves behind.
func TestRegistration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket := filepath.Join(dir, "d-reg.sock")
	for range 2 {
		r, err := New(Config{Dir: dir, DriverName: "d", Endpoint: "/kubelet/csi.sock", Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		ask(t, socket, r)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(socket); err != nil {
			t.Errorf("the socket is gone, which kubelet takes for the end of the driver: %v", err)
		}
	}
}

func ask(t *testing.T, socket string, r *Registrar) {
	t.Helper()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	kubelet := registerapi.NewRegistrationClient(conn)
	info, err := kubelet.GetInfo(ctx, &registerapi.InfoRequest{}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	want := &registerapi.PluginInfo{Type: "CSIPlugin", Name: "d", Endpoint: "/kubelet/csi.sock", SupportedVersions: []string{"1.0.0"}}
	if !proto.Equal(want, info) {
		t.Errorf("got %v, want %v", info, want)
	}
	if r.Registered() == nil {
		t.Error("registered before kubelet said so")
	}
	for text, ok := range map[string]bool{"no such endpoint": false, "": true} {
		if _, err := kubelet.NotifyRegistrationStatus(ctx, &registerapi.RegistrationStatus{PluginRegistered: ok, Error: text}); err != nil {
			t.Fatal(err)
		}
		if err := r.Registered(); (err == nil) != ok || !ok && !strings.Contains(err.Error(), text) {
			t.Errorf("told %v %q: %v", ok, text, err)
		}
	}
}
