package azure

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/internal/azuretest/material"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/providertest"
)

const canary = "c4n4ry-v4lue-0123456789"

// bearers notes the access tokens that pass.
type bearers struct {
	inner http.RoundTripper
	mu    sync.Mutex
	seen  map[string]bool
}

func (b *bearers) RoundTrip(r *http.Request) (*http.Response, error) {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		b.mu.Lock()
		b.seen[token] = true
		b.mu.Unlock()
	}
	return b.inner.RoundTrip(r)
}

// served is a provider as the driver and an operator meet it, at its most talkative.
type served struct {
	*ground
	bearers *bearers
	client  *provider.Client
	log     *providertest.Buffer
	metrics string // where they are
	secrets map[string]string
	texts   []string // of errors
}

func newServed(t *testing.T) *served {
	t.Helper()
	s := &served{ground: newGround(t), log: &providertest.Buffer{}, secrets: map[string]string{"client secret": password, "value": canary}}
	s.bearers = &bearers{inner: s.Transport, seen: map[string]bool{}}
	s.transport = &http.Client{Transport: s.bearers}
	s.Provider.log = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s.meter = newMeter(true, s.countSessions)
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.metrics = l.Addr().String()
	if err = l.Close(); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cfg := provider.Config{
		Name: "azure", Endpoint: filepath.Join(dir, "azure.sock"), SocketGID: -1, HealthAddr: s.metrics, Log: s.Provider.log,
		Open: func(context.Context, *slog.Logger) (provider.Provider, error) { return s.Provider, nil },
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- provider.Serve(ctx, cfg) }()
	t.Cleanup(func() {
		stop()
		if stopped := <-done; stopped != nil {
			t.Error(stopped)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); cfg.Probe(ctx) != nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not answer")
		}
	}
	s.client, err = provider.NewClient(provider.ClientConfig{
		Dirs: []string{dir}, MaxResponse: 4 << 20, Timeout: 30 * time.Second, Concurrency: 8, Log: s.Provider.log,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.client.Close() })
	return s
}

// mount asks over the socket.
func (s *served) mount(t *testing.T, req *provider.Request, works bool) {
	t.Helper()
	for audience, token := range req.Tokens {
		s.secrets["token for "+audience+" of "+req.Pod.UID] = string(token.Value)
	}
	resp, err := s.client.Mount(t.Context(), "azure", req)
	if (err == nil) != works {
		t.Errorf("%s: %v", req.Parameters["objects"], err)
	}
	if err != nil {
		s.texts = append(s.texts, err.Error())
		return
	}
	for _, f := range resp.Files {
		s.secrets["file "+f.Path] = string(f.Contents)
	}
}

// breakReplies meets replies that are broken, refused or no error of Azure at all.
func (s *served) breakReplies(t *testing.T) {
	t.Helper()
	for i, f := range []cloud.Fault{
		{Where: "vault", Status: http.StatusOK, Body: `{"value":"` + canary + `","id":`},
		{Where: "vault", Status: http.StatusOK, Body: `{"value":{"` + canary + `":1},"id":"` + canary + `"}`},
		{Where: "vault", Status: http.StatusOK, Body: `{"value":"` + canary + `"}`},
		{Where: "vault", Status: http.StatusOK, Body: canary},
		{Where: "vault", Status: http.StatusBadRequest, Body: `{"value":"` + canary + `"}`},
		{Where: "vault", Status: http.StatusForbidden, Body: canary},
		{Where: "authority", Status: http.StatusOK, Body: `{"access_token":"` + canary + `"`},
		{Where: "authority", Status: http.StatusBadRequest, Body: canary},
		{Where: "discovery", Status: http.StatusOK, Body: `{"` + canary + `"`},
		{Where: "metadata", Status: http.StatusOK, Body: `{"access_token":"` + canary + `"`},
		{Where: "metadata", Status: http.StatusOK, Body: canary},
		{Where: "proxy", Status: http.StatusOK, Body: `{"access_token":"` + canary + `"`},
		{Where: "proxy", Status: http.StatusForbidden, Body: canary},
		{Where: "nmi", Status: http.StatusOK, Body: `{"token":{"access_token":"` + canary + `"}`},
		{Where: "nmi", Status: http.StatusNotFound, Body: canary},
	} {
		s.AddFault(f)
		req := s.asPrincipal(ask(podOf(fmt.Sprint("g", i)), fmt.Sprintf(`array: ["{objectName: db%d, objectType: secret}"]`, i)))
		switch f.Where {
		case "authority": // for which there is no token yet
			req.Parameters["tenantID"] = domain
		case "discovery":
			req = s.asWorkload(t, req)
			req.Parameters["tenantID"] = domain
		case "proxy":
			s.asBound(t, req)
		case "nmi":
			asPod(req)
		case "metadata":
			req.Parameters["useVMManagedIdentity"], req.Parameters["userAssignedIdentityID"] = "true", assigned
		}
		s.mount(t, req, false)
		s.ClearFaults()
	}
}

// told is everything that somebody without rights to a secret may read.
func (s *served) told(t *testing.T) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.metrics+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Contains(body, []byte("keyvault_request_count")) {
		t.Fatalf("metrics: %v: %s", err, body)
	}
	return s.log.String() + strings.Join(s.texts, "\n") + string(body)
}

// fragments are what a reader would recognise a secret by: neither the begin nor the
// end of a token may be shown, as the existing provider does. (azure-contract 9.6)
func fragments(secret string) (all []string) {
	for _, form := range []string{
		secret, base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)), hex.EncodeToString([]byte(secret)),
	} {
		if len(form) > 24 {
			all = append(all, form[:12], form[len(form)-12:], form[len(form)/2:len(form)/2+12])
		} else {
			all = append(all, form)
		}
	}
	return all
}

// No log line, at any level, no error and no metric has a value or a token, or a piece
// of one. (azure-contract 17.28, 17.34)
func TestNothingIsToldOfSecrets(t *testing.T) {
	t.Parallel()
	s := newServed(t)
	s.put(t, "db", canary)
	s.put(t, "odd", canary) // neither hex nor base64
	for name, kind := range map[string]string{"tls-pem": cloud.PEM, "tls-pfx": cloud.PFX} {
		at := cloud.Place{Vault: "shop", Kind: cloud.Certificates, Name: name}
		if _, err := s.Make(t.Context(), at, cloud.Recipe{Template: material.Template{Key: "ec-p256"}, Type: kind}); err != nil {
			t.Fatal(err)
		}
	}
	const all = `array: ["{objectName: db, objectType: secret}", "{objectName: tls-pem, objectType: secret}", "{objectName: tls-pfx, objectType: secret}"]`
	s.mount(t, s.asPrincipal(ask(podOf("a"), all)), true)
	s.mount(t, s.asWorkload(t, ask(podOf("b"), all)), true)
	s.mount(t, s.asWorkload(t, ask(podOf("b"), all)), true) // a refresh
	s.mount(t, ask(podOf("c"), all, "useVMManagedIdentity", "true"), true)
	s.mount(t, asPod(ask(podOf("u1"), all)), true)

	for i, objects := range []string{
		`array: ["{objectName: odd, objectType: secret, objectEncoding: hex}"]`,
		`array: ["{objectName: odd, objectType: secret, objectEncoding: base64}"]`,
		`array: ["{objectName: none, objectType: secret}"]`, `array: ["{objectName: ` + "{}" + `, objectType: secret}"]`,
	} {
		s.mount(t, s.asPrincipal(ask(podOf(fmt.Sprint("d", i)), objects)), false)
	}
	wrong := s.asPrincipal(ask(podOf("e"), oneSecret))
	wrong.Secrets["ClientSecret"] = "wr0ng~secret~of~somebody"
	s.secrets["wrong client secret"] = "wr0ng~secret~of~somebody"
	s.mount(t, wrong, false)
	stranger := podOf("f")
	stranger.ServiceAccount = "stranger"
	s.mount(t, s.asWorkload(t, ask(stranger, oneSecret)), false)

	s.breakReplies(t)
	for token := range s.bearers.seen {
		s.secrets[fmt.Sprint("access token ", len(s.secrets))] = token
	}
	if len(s.bearers.seen) < 4 || len(s.secrets) < 14 || len(s.texts) < 21 {
		t.Errorf("only %d access tokens, %d secrets and %d errors were seen", len(s.bearers.seen), len(s.secrets), len(s.texts))
	}
	s.checkTold(t)
}

// checkTold looks for secrets in what is told.
func (s *served) checkTold(t *testing.T) {
	t.Helper()
	told := s.told(t)
	if !strings.Contains(told, `level=DEBUG msg="key vault" method=get`) {
		t.Error("the log does not say what is asked for")
	}
	for what, secret := range s.secrets {
		for _, piece := range fragments(secret) {
			if at := strings.Index(told, piece); at >= 0 {
				t.Errorf("%s is told: ...%s...", what, told[max(0, at-200):min(len(told), at+100)])
			}
		}
	}
	if strings.Contains(told, "eyJ") {
		t.Error("something like a token is told")
	}
}
