package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"golang.org/x/sys/unix"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/stand"
)

const (
	azurePods      = 500
	azureSecrets   = 10
	azureIntervals = 3
	azureInterval  = 10 * time.Second

	azureAudience = "api://AzureADTokenExchange"
	azureTenant   = "11111111-2222-3333-4444-555555555555"
	azureClient   = "aaaaaaaa-0000-0000-0000-000000000001"
	azureLogin    = "login.azure.test"
	azureSuffix   = "vault.azure.test"
)

// azureShared are the figures of pods of one service account that read the same
// secrets.
type azureShared struct {
	publish             sample
	tokens, reads       int // cold
	probes, throttled   int // in all
	tokensLater         int
	readsLater          int
	idle, loaded, later int // KiB of the provider
}

// startAzure runs an Azure of tests in this process with a vault of so many secrets, and
// makes this machine find it: in namespaces that end with the bench.
func (b *bench) startAzure(ctx context.Context, n int, quota cloud.Quota) (*cloud.Cloud, func() error, error) {
	issuer, err := b.issuer(ctx)
	if err != nil {
		return nil, nil, err
	}
	secrets := map[string]*cloud.Object{}
	for i := range n {
		secrets[fmt.Sprintf("secret-%d", i)] = &cloud.Object{Versions: []cloud.Version{{Content: map[string]any{"value": strings.Repeat("p", 24)}}}}
	}
	azure, err := cloud.New(cloud.Config{Login: azureLogin, Suffix: azureSuffix, State: cloud.State{
		Tenants: []cloud.Tenant{{ID: azureTenant, Applications: []cloud.Application{{
			ClientID: azureClient, Federated: []cloud.Federation{{Issuer: issuer.URL, Subject: "system:serviceaccount:" + namespace + ":default"}},
		}}}},
		Issuers: []cloud.Issuer{issuer},
		Vaults: []cloud.Vault{{
			Name: "bench", Tenant: azureTenant, Quota: &quota,
			Access:  map[string]cloud.Access{azureClient: {cloud.Secrets: {"get"}}},
			Objects: map[cloud.Kind]map[string]*cloud.Object{cloud.Secrets: secrets},
		}},
	}})
	if err != nil {
		return nil, nil, err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:443")
	if err != nil {
		return nil, nil, fmt.Errorf("listen as Azure: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- azure.Serve(ctx, cloud.Listeners{TLS: listener}) }()
	end := func() error {
		stop()
		err := <-done
		for _, v := range azure.Violations() {
			err = errors.Join(err, fmt.Errorf("violation: %v", v))
		}
		return err
	}
	return azure, end, announce(azure)
}

// announce makes programs that are started now find the cloud.
func announce(azure *cloud.Cloud) error {
	dir := filepath.Join(stand.Memory, "azure")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	stack, err := json.Marshal(azure.Stack())
	if err != nil {
		return err
	}
	hosts := fmt.Sprintf("127.0.0.1 localhost %s bench.%s\n", azureLogin, azureSuffix)
	for name, text := range map[string]string{"ca.pem": string(azure.CA()), "stack.json": string(stack), "hosts": hosts} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if err := unix.Mount(filepath.Join(dir, "hosts"), "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("replace /etc/hosts: %w", err)
	}
	return errors.Join(
		os.Setenv("SSL_CERT_FILE", filepath.Join(dir, "ca.pem")),
		os.Setenv("AZURE_ENVIRONMENT_FILEPATH", filepath.Join(dir, "stack.json")),
	)
}

// issuer is the cluster, and the keys that its tokens are signed with.
func (b *bench) issuer(ctx context.Context) (cloud.Issuer, error) {
	var of struct {
		Issuer string `json:"issuer"`
	}
	var keys json.RawMessage
	err := b.ask(ctx, "/.well-known/openid-configuration", &of)
	if err == nil {
		err = b.ask(ctx, "/openid/v1/jwks", &keys)
	}
	return cloud.Issuer{URL: of.Issuer, JWKS: keys}, err
}

// ask reads what the API server says at a path.
func (b *bench) ask(ctx context.Context, path string, into any) error {
	web, err := rest.HTTPClientFor(b.cluster.Config)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(b.cluster.Config.Host, "/")+path, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := web.Do(request)
	if err != nil {
		return fmt.Errorf("ask the API server for %s: %w", path, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask the API server for %s: %s", path, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
		return fmt.Errorf("read %s of the API server: %w", path, err)
	}
	return nil
}

// azureClass makes a class of ten secrets, from one of them on.
func (b *bench) azureClass(ctx context.Context, name string, from int) error {
	var objects strings.Builder
	fmt.Fprintln(&objects, "array:")
	for i := range azureSecrets {
		fmt.Fprintf(&objects, "- |\n  objectName: secret-%d\n  objectType: secret\n", from+i)
	}
	return b.cluster.StoreClass(ctx, client.ObjectKey{Namespace: namespace, Name: name}, "azure", map[string]string{
		"keyvaultName": "bench", "tenantID": azureTenant, "clientID": azureClient, "objects": objects.String(),
	})
}

// azureShared publishes many pods of one service account, and waits for some intervals.
func (b *bench) azureShared(ctx context.Context, f *figures) (err error) {
	azure, end, err := b.startAzure(ctx, azureSecrets, cloud.Quota{Requests: 2000, Seconds: 10})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	if err = b.azureClass(ctx, "azure", 0); err != nil {
		return err
	}
	volumes, err := b.podsFor(ctx, azureAudience, azurePods, "azure")
	if err != nil {
		return err
	}
	p, err := b.node.StartStore(ctx, "azure", filepath.Join(b.root, "bin/linux/provider-azure"), "--cloud-name=AzureStackCloud")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Stop()) }()
	s := &f.azure
	if s.idle, err = p.RSS(); err != nil {
		return err
	}
	return b.with(ctx, func(d *stand.Driver) (err error) {
		if s.publish, err = b.publishPods(ctx, d, volumes); err != nil {
			return err
		}
		s.tokens, s.reads = s.count(azure)
		if s.loaded, err = p.RSS(); err != nil {
			return err
		}
		if err = sleep(ctx, azureIntervals*azureInterval+azureInterval/2); err != nil {
			return err
		}
		s.tokensLater, s.readsLater = s.count(azure)
		if s.later, err = p.RSS(); err != nil {
			return err
		}
		_, err = b.unpublishThese(ctx, d, volumes, 16)
		return err
	}, "--enable-secret-rotation=true", "--rotation-poll-interval="+azureInterval.String())
}

// count is of what Azure was asked since the last count.
func (s *azureShared) count(azure *cloud.Cloud) (tokens, reads int) {
	c := azure.Counters()
	azure.ClearCounters()
	s.throttled += c.Throttled["bench"]
	s.probes += c.Challenges["bench"]
	return c.Tokens[azureClient], c.Count(cloud.Read{Op: "get"})
}

// azureTable is Markdown.
func (f figures) azureTable() string {
	var t strings.Builder
	s := f.azure
	fmt.Fprintf(&t, "\n%s, an Azure of tests too, over HTTPS. %d pods of one service account, %d secrets of one vault, quota 2,000 requests in 10 s, "+
		"16 in flight, then %d intervals of %s.\n\n", machine(), azurePods, azureSecrets, azureIntervals, azureInterval)
	fmt.Fprintf(&t, "| what | here | aim | one request for each pod |\n|---|---:|---:|---:|\n")
	line := func(what, here, aim, each string) {
		fmt.Fprintf(&t, "| %s | %s | %s | %s |\n", what, here, aim, each)
	}
	line("publish, cold, rate", fmt.Sprintf("%.0f/s", s.publish.rate()), "200/s", "-")
	line("publish, cold, p50", fmt.Sprintf("%.1f ms", millis(s.publish.quantile(0.5))), "-", "-")
	line("publish, cold, p99", fmt.Sprintf("%.1f ms", millis(s.publish.quantile(0.99))), "-", "-")
	line("access tokens", fmt.Sprint(s.tokens), "1", fmt.Sprint(azurePods))
	line("reads, cold", fmt.Sprint(s.reads), fmt.Sprint(azureSecrets), fmt.Sprint(azurePods*azureSecrets))
	line(fmt.Sprintf("access tokens in %d intervals", azureIntervals), fmt.Sprint(s.tokensLater), "0", fmt.Sprint(azureIntervals*azurePods))
	line(fmt.Sprintf("reads in %d intervals", azureIntervals), fmt.Sprint(s.readsLater), fmt.Sprint(azureIntervals*azureSecrets), fmt.Sprint(azureIntervals*azureSecrets*azurePods))
	line("requests that only ask where to get a token, in all", fmt.Sprint(s.probes), "-", fmt.Sprint((1+azureIntervals)*azurePods))
	line("answers 429, in all", fmt.Sprint(s.throttled), "0", "-")
	line("resident memory of the provider, idle", fmt.Sprintf("%.1f MB", mega(s.idle)), "-", "-")
	line(fmt.Sprintf("resident memory of the provider, %d pods", azurePods), fmt.Sprintf("%.1f MB", mega(s.loaded)), "45 MB", "-")
	line("resident memory of the provider, after the intervals", fmt.Sprintf("%.1f MB", mega(s.later)), "45 MB", "-")
	return t.String()
}
