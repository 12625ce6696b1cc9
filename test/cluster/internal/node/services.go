package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/strongroom/strongroom/test/cluster/internal/config"
	"github.com/strongroom/strongroom/test/cluster/internal/image"
	"github.com/strongroom/strongroom/test/internal/ground/process"
	"github.com/strongroom/strongroom/test/internal/plan"
)

// Services runs the node's own services until ctx ends, and on the first node the
// control plane. Each is started when what it needs is there.
func Services(ctx context.Context, n plan.Node) error {
	var running sync.WaitGroup
	keep := func(s process.Service) {
		log.Printf("start %s", s.Name)
		running.Go(func() { s.Keep(ctx) })
	}
	keep(config.Containerd(n))
	images := make(chan error, 1)
	go func() { images <- baseImages(ctx, n) }()
	if n.First() {
		keep(config.Etcd(n.Cluster))
		if err := await(ctx, "etcd", listens("tcp", config.EtcdAddr)); err != nil {
			return err
		}
		keep(config.APIServer(n.Cluster))
	}
	if err := await(ctx, "the API server", answers(n.Cluster)); err != nil {
		return err
	}
	if n.First() {
		keep(config.Controllers(n.Cluster))
		keep(config.Scheduler(n.Cluster))
	}
	if err := <-images; err != nil {
		return err
	}
	keep(config.Kubelet(n))
	running.Wait()
	return ctx.Err()
}

func baseImages(ctx context.Context, n plan.Node) error {
	archives, err := filepath.Glob(n.Run.Path("images", "*.tar"))
	if err != nil {
		return err
	}
	if err := await(ctx, "containerd", listens("unix", plan.Containerd)); err != nil {
		return err
	}
	for _, archive := range archives {
		if err := image.Load(ctx, plan.Containerd, archive); err != nil {
			return err
		}
	}
	return nil
}

// await asks until the answer is yes. Who waits for the node has the deadline.
func await(ctx context.Context, what string, yes func(context.Context) bool) error {
	for !yes(ctx) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	log.Printf("%s is there", what)
	return nil
}

func listens(network, addr string) func(context.Context) bool {
	return func(ctx context.Context) bool {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, network, addr)
		if err != nil {
			return false
		}
		return c.Close() == nil
	}
}

// answers asks the API server whether it is ready, which anybody may.
func answers(c plan.Cluster) func(context.Context) bool {
	roots := x509.NewCertPool()
	if pem, err := os.ReadFile(c.PKI("ca.crt")); err == nil {
		roots.AppendCertsFromPEM(pem)
	}
	client := &http.Client{
		Timeout:   2 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
	}
	return func(ctx context.Context) bool {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Server()+"/readyz", nil)
		if err != nil {
			return false
		}
		res, err := client.Do(req)
		if err != nil {
			return false
		}
		return res.Body.Close() == nil && res.StatusCode == http.StatusOK
	}
}
