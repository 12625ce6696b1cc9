package cloud

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/strongroom/strongroom/internal/azuretest/material"
)

// Config says where the cloud is and what it starts with.
type Config struct {
	// Login is the host name of the authority, Suffix what follows the name of a vault.
	Login, Suffix string
	// Port is what clients dial for both; 443 if it is zero.
	Port int
	// APIVersion is the only one that the vaults understand; 7.4 if it is empty.
	APIVersion string
	// Now is the clock; time.Now if it is nil.
	Now func() time.Time
	// Log gets one line per request; nobody if it is nil.
	Log   *slog.Logger
	State State
}

// Cloud is the authority, the vaults and the metadata endpoint. All methods may run
// concurrently.
type Cloud struct {
	config Config
	ca     *material.CA
	front  door
	tls    tls.Certificate
	signer crypto.Signer

	mu         sync.Mutex
	clusterCA  *material.CA
	state      State
	faults     []*Fault
	windows    map[string]*window
	inside     map[string]int
	tally      tally
	violations []Violation
}

// New makes a cloud which nobody can reach yet.
func New(config Config) (*Cloud, error) {
	switch {
	case config.Login == "":
		return nil, errors.New("the cloud needs the host name of its authority")
	case config.Suffix == "":
		return nil, errors.New("the cloud needs the DNS suffix of its vaults")
	case strings.HasSuffix(config.Login, "."+config.Suffix):
		return nil, fmt.Errorf("the authority %s would be one of the vaults below %s", config.Login, config.Suffix)
	}
	defaults(&config)
	signer, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("make the key that signs tokens: %w", err)
	}
	c := &Cloud{config: config, signer: signer, windows: map[string]*window{}, inside: map[string]int{}, tally: newTally()}
	if c.ca, err = material.NewCA("Azure of the tests"); err != nil {
		return nil, err
	}
	if err = c.RenewClusterCA(); err != nil {
		return nil, err
	}
	if c.tls, err = c.ca.Server(config.Login, config.Suffix, "*."+config.Suffix); err != nil {
		return nil, err
	}
	c.front = door{discovery: "discovery", tokens: "authority", proves: c.credential, count: c.countToken}
	return c, c.SetState(config.State)
}

func defaults(config *Config) {
	if config.Port == 0 {
		config.Port = 443
	}
	config.Login, config.Suffix = strings.ToLower(config.Login), strings.ToLower(config.Suffix)
	if config.APIVersion == "" {
		config.APIVersion = "7.4"
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
}

// CA is the certificate that clients must trust, as PEM.
func (c *Cloud) CA() []byte { return c.ca.PEM() }

// Authority is the URL that tenants are below, with a trailing slash.
func (c *Cloud) Authority() string { return "https://" + c.at(c.config.Login) + "/" }

// Resource is what tokens for the vaults are asked for.
func (c *Cloud) Resource() string { return "https://" + c.at(c.config.Suffix) }

// VaultURL is where a vault is, with a trailing slash.
func (c *Cloud) VaultURL(name string) string {
	return "https://" + c.at(name+"."+c.config.Suffix) + "/"
}

func (c *Cloud) at(host string) string {
	if c.config.Port == 443 {
		return host
	}
	return net.JoinHostPort(host, strconv.Itoa(c.config.Port))
}

// Listeners are where the cloud can be reached. TLS is for authority and vaults,
// Cluster for the API server of a cluster and its token proxy; Metadata, NMI and Control
// speak plain HTTP. Each may be nil.
type Listeners struct{ TLS, Cluster, Metadata, NMI, Control net.Listener }

// Serve answers until ctx ends, and closes the listeners.
func (c *Cloud) Serve(ctx context.Context, at Listeners) error {
	group, ctx := errgroup.WithContext(ctx)
	if at.TLS != nil {
		// Not HTTP/2: one connection per request in flight costs a client what Azure costs it.
		config := &tls.Config{
			Certificates: []tls.Certificate{c.tls}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
			GetConfigForClient: c.greets,
		}
		group.Go(func() error { return serve(ctx, tls.NewListener(at.TLS, config), c.Handler()) })
	}
	if at.Cluster != nil {
		config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, GetCertificate: c.clusterCertificate}
		group.Go(func() error { return serve(ctx, tls.NewListener(at.Cluster, config), c.proxyHandler()) })
	}
	for _, plain := range []struct {
		at      net.Listener
		handler http.Handler
	}{{at.Metadata, c.MetadataHandler()}, {at.NMI, c.NMIHandler()}, {at.Control, c.ControlHandler()}} {
		if plain.at != nil {
			group.Go(func() error { return serve(ctx, plain.at, plain.handler) })
		}
	}
	return group.Wait()
}

// greets sees whom a client is looking for before the certificate drives it away: on a
// node, the names of the public cloud can be pointed here, and nobody may ask for them.
func (c *Cloud) greets(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if hello.ServerName != "" && !c.owns(hello.ServerName) {
		c.note("connect "+hello.ServerName, "this host does not belong to the cloud")
	}
	return nil, nil // the configuration stays as it is
}

func (c *Cloud) owns(host string) bool {
	host = strings.ToLower(host)
	return host == c.config.Login || strings.HasSuffix(host, "."+c.config.Suffix)
}

func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
		// A request that hangs on purpose ends with the server.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	}
	return nil
}

// Handler answers for the authority and the vaults.
func (c *Cloud) Handler() http.Handler {
	return c.logged(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(strings.ToLower(r.Host), ":")
		vault, ok := strings.CutSuffix(host, "."+c.config.Suffix)
		switch {
		case host == c.config.Login:
			c.authority(w, r, r.URL.Path, c.front)
		case ok && !strings.Contains(vault, "."):
			c.vault(w, r, vault)
		default:
			c.violate(w, r, "this host belongs to nobody")
		}
	})
}

func (c *Cloud) logged(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kept := &answer{ResponseWriter: w}
		next(kept, r)
		c.config.Log.Info("request", slog.String("method", r.Method), slog.String("host", r.Host),
			slog.String("path", r.URL.Path), slog.Int("status", kept.status))
	})
}

// answer remembers the status, zero if there was no answer.
type answer struct {
	http.ResponseWriter
	status int
}

func (a *answer) WriteHeader(status int) {
	a.status = status
	a.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
