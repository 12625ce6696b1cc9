package provider_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// BenchmarkMount is one call over the socket, many side by side: two files, two
// tokens, as a first mount has.
func BenchmarkMount(b *testing.B) {
	dir := b.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	log := slog.New(slog.DiscardHandler)
	done := make(chan error, 1)
	resp := &provider.Response{
		Files:    []provider.File{{Path: "user", Contents: []byte("web")}, {Path: "password", Contents: []byte(canary)}},
		Versions: []provider.Version{{ID: "user", Version: "1"}, {ID: "password", Version: "1"}},
	}
	p := mountFunc(func(context.Context, *provider.Request) (*provider.Response, error) { return resp, nil })
	go func() {
		done <- provider.Serve(ctx, provider.Config{
			Name: "acme", Endpoint: filepath.Join(dir, "acme.sock"), SocketGID: -1, Log: log,
			Open: func(context.Context, *slog.Logger) (provider.Provider, error) { return p, nil },
		})
	}()
	c, err := provider.NewClient(provider.ClientConfig{Dirs: []string{dir}, MaxResponse: 4 << 20, Timeout: time.Minute, Concurrency: 32, Log: log})
	if err != nil {
		b.Fatal(err)
	}
	for err = context.Canceled; err != nil; {
		_, err = c.Mount(ctx, "acme", fullRequest())
	}
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Mount(ctx, "acme", fullRequest()); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mounts/s")
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
	_ = c.Close()
}
