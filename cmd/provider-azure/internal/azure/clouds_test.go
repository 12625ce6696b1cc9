//go:build unix

package azure

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/strongroom/strongroom/provider"
)

// (azure-contract 6.1-6.5, 17.16)
func TestCloudNames(t *testing.T) {
	t.Parallel()
	cs := &clouds{otherwise: "AzureChinaCloud"}
	for suffix, names := range map[string][]string{
		"vault.azure.net":         {"AzurePublicCloud", "AZUREPUBLICCLOUD", "azurecloud", "AzureCloud"},
		"vault.usgovcloudapi.net": {"AzureUSGovernmentCloud", "azureusgovernment", "AZUREUSGOVERNMENTCLOUD"},
		"vault.azure.cn":          {"AzureChinaCloud", "aZUREcHINAcLOUD", ""},
		"vault.microsoftazure.de": {"AzureGermanCloud", "azuregermancloud"},
	} {
		for _, name := range names {
			c, err := cs.find(name, "/nowhere") // which counts only for a custom cloud
			if err != nil || c.suffix != suffix || c.resource != "https://"+suffix || !strings.HasPrefix(c.authority, "https://login.") {
				t.Errorf("%s: %+v, %v", name, c, err)
			}
			if got := c.vaultURL("Shop-EU"); got != "https://shop-eu."+suffix+"/" {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
	for _, name := range []string{"Azure", "AzurePublicCloud2", "public", "AzureStack", strings.Repeat("x", 10_000)} {
		if _, err := cs.find(name, ""); err == nil || !strings.Contains(err.Error(), "not valid") || len(err.Error()) > 300 {
			t.Errorf("%.20s: %v", name, err)
		}
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

const minimal = `{"name":"AzureStackCloud","activeDirectoryEndpoint":"https://login.stack.test/","keyVaultEndpoint":"https://vault.stack.test/","keyVaultDNSSuffix":"vault.stack.test"}`

// (azure-contract 6.6, 17.16)
func TestCloudFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	changed := func(from, to string) string { return strings.Replace(minimal, from, to, 1) }
	for name, tt := range map[string]struct{ text, says string }{
		"minimal":            {minimal, ""},
		"a dot before":       {changed(`"vault.stack.test"`, `".vault.stack.test"`), ""},
		"with more":          {changed("{", `{"managementPortalURL":"x","tokenAudience":["y"],`), ""},
		"empty":              {"", "not the JSON"},
		"bad JSON":           {"{", "not the JSON"},
		"a list":             {"[]", "not the JSON"},
		"null":               {"null", "activeDirectoryEndpoint"},
		"no authority":       {changed("activeDirectoryEndpoint", "x"), "activeDirectoryEndpoint"},
		"a plain authority":  {changed("https://login", "http://login"), "activeDirectoryEndpoint"},
		"a path authority":   {changed("https://login.stack.test/", "/login"), "activeDirectoryEndpoint"},
		"no suffix":          {changed("keyVaultDNSSuffix", "x"), "keyVaultDNSSuffix"},
		"another host":       {changed(`"vault.stack.test"`, `"x@evil.test"`), "keyVaultDNSSuffix"},
		"a path":             {changed(`"vault.stack.test"`, `"evil.test/?"`), "keyVaultDNSSuffix"},
		"a number":           {changed(`"vault.stack.test"`, `7`), "not the JSON"},
		"too long":           {minimal + strings.Repeat(" ", maxCloudFile), "at most"},
		"a secret, no cloud": {canary, "not the JSON"},
	} {
		_, err := (&clouds{}).find("AzureStackCloud", write(t, at(name), tt.text))
		text := ""
		if err != nil {
			text = err.Error()
		}
		told := strings.Contains(text, "AzureStackCloud is not valid") && !strings.Contains(text, canary)
		if (err != nil) != (tt.says != "") || err != nil && !told || !strings.Contains(text, tt.says) {
			t.Errorf("%s: error %q, want %q", name, text, tt.says)
		}
	}
}

// TestNoCloudFile: what is no file, or none that can be read.
func TestNoCloudFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := syscall.Mkfifo(at("fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{
		at("none"): "no such file", dir: "not a file", at("fifo"): "not a file", "/dev/zero": "not a file", "": "is missing", "\x00": "invalid",
		at(strings.Repeat("x", 100_000)): "more than 500 bytes",
	} {
		if _, err := (&clouds{}).find("AzureStackCloud", name); err == nil || !strings.Contains(err.Error(), says) || len(err.Error()) > 1000 {
			t.Errorf("%.50s: %.300v, want %q", name, err, says)
		}
	}
}

// Files that a class names are below a folder, if the operator says so; its own file may
// be anywhere. (azure-contract 16.35)
func TestCloudFilesBelow(t *testing.T) {
	t.Parallel()
	outside, dir := t.TempDir(), t.TempDir()
	secret := write(t, filepath.Join(outside, "stack.json"), minimal)
	good := write(t, filepath.Join(dir, "good.json"), minimal)
	link := func(to, name string) string {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
		return name
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	cs := &clouds{below: dir, file: secret}
	for name, ok := range map[string]bool{
		good: true, link("good.json", "inside"): true, "": true, dir + "/x/../good.json": true,
		secret: false, link(secret, "out"): false, link(outside, "folder") + "/stack.json": false, dir + "/../" + filepath.Base(outside) + "/stack.json": false,
		"good.json": false, "./good.json": false, dir: false, filepath.Join(dir, "fifo"): false, filepath.Join(dir, "none"): false, dir + "2/good.json": false,
	} {
		if _, err := cs.find("azurestackcloud", name); (err == nil) != ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// airGap notes who is asked for, and lets nobody through.
type airGap struct {
	mu    sync.Mutex
	hosts map[string]bool
}

func (a *airGap) dial(_ context.Context, _, address string) (net.Conn, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hosts[address] = true
	return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
}

// TestAirGap: nobody outside a custom cloud is asked for anything, and of another one
// only its own authority and vaults are. (azure-contract 16.21)
func TestAirGap(t *testing.T) {
	t.Parallel()
	stack := write(t, filepath.Join(t.TempDir(), "stack.json"), minimal)
	for cloud, allowed := range map[string]string{
		"AzureStackCloud": "shop.vault.stack.test:443", "AzurePublicCloud": "shop.vault.azure.net:443", "AzureChinaCloud": "shop.vault.azure.cn:443",
		"AzureUSGovernmentCloud": "shop.vault.usgovcloudapi.net:443", "AzureGermanCloud": "shop.vault.microsoftazure.de:443",
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newBubble(t).Provider
			gap := &airGap{hosts: map[string]bool{}}
			p.transport = bounded{&http.Client{Transport: &http.Transport{DialContext: gap.dial}}}
			req := ask(podOf("u1"), oneSecret, "cloudName", cloud, "cloudEnvFileName", stack)
			req.Secrets = map[string]provider.Secret{"clientid": principal, "clientsecret": password}
			_, err := p.Mount(t.Context(), req)
			gap.mu.Lock()
			defer gap.mu.Unlock()
			if err == nil || len(gap.hosts) != 1 || !gap.hosts[allowed] {
				t.Errorf("%s: %v; asked for %v", cloud, err, gap.hosts)
			}
		})
	}
}

// TestAirGapLogin: the same for logins, in a cloud that works.
func TestAirGapLogin(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"principal", "workload", "domain"} {
		g := newGround(t) // whose transport and certificate fail for other hosts
		g.put(t, "db", "v1")
		req := g.asPrincipal(ask(podOf("u1"), oneSecret))
		switch mode {
		case "workload":
			req = g.asWorkload(t, req)
		case "domain":
			req.Parameters["tenantID"] = domain
		}
		g.must(t, req)
	}
}

// TestCheckOrder: of two things that are wrong the first one of this list is told.
// (azure-contract 4.7, 17.3)
func TestCheckOrder(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	steps := []struct {
		name  string
		wrong func(*provider.Request)
		says  string
	}{
		{"pod name", func(r *provider.Request) { r.Pod.Name = "" }, "pod name is not set"},
		{"namespace", func(r *provider.Request) { r.Pod.Namespace = "" }, "pod namespace is not set"},
		{"first bool", with("usePodIdentity", "x"), "failed to parse usePodIdentity"},
		{"second bool", with("useVMManagedIdentity", "x"), "failed to parse useVMManagedIdentity"},
		{"third bool", with("useAzureTokenProxy", "x"), "failed to parse useAzureTokenProxy"},
		{"two modes", with("useAzureTokenProxy", "true", "useVMManagedIdentity", "true"), "only one identity mode"},
		{"vault", with("keyvaultName", ""), "keyvaultName is not set"},
		{"tenant", with("tenantID", ""), "tenantId is not set"},
		{"cloud", with("cloudName", "x"), "cloudName \"x\" is not valid"},
		{"login", func(r *provider.Request) { r.Secrets = nil }, "nodePublishSecretRef secret is not set"},
		{"objects", with("objects", ""), "objects is not set"},
		{"YAML", with("objects", "- a"), "failed to yaml unmarshal objects"},
		{"item", with("objects", "array: ['{']"), "unmarshal failed for objects at index 0"},
		{"object", with("objects", `array: ["{objectName: a, objectType: secret, objectFormat: x}"]`), "invalid objectFormat"},
		{"vault's name", with("keyvaultName", "ab"), "failed to get vault"},
		{"tenant's name", with("tenantID", "a b"), "failed to get keyvault client"},
	}
	good := func() *provider.Request { return g.asPrincipal(ask(podOf("u1"), oneSecret)) }
	for i, first := range steps {
		for _, second := range steps[i:] {
			req := good()
			second.wrong(req)
			first.wrong(req) // of two for one parameter the first counts
			_, err := g.Mount(t.Context(), req)
			if provider.KindOf(err) != provider.Invalid || !strings.Contains(err.Error(), first.says) {
				t.Errorf("%s before %s: %v", first.name, second.name, err)
			}
		}
	}
	proxy := good()
	proxy.Parameters["useAzureTokenProxy"], proxy.Parameters["keyvaultName"] = "true", ""
	if _, err := g.Mount(t.Context(), proxy); err == nil || !strings.Contains(err.Error(), "keyvaultName is not set") {
		t.Error(err)
	}
	proxy.Parameters["keyvaultName"] = "shop"
	if _, err := g.Mount(t.Context(), proxy); err == nil || !strings.Contains(err.Error(), "AzureTokenProxy: useAzureTokenProxy needs clientID") {
		t.Error(err)
	}
	if c := g.Counters(); len(c.Reads)+len(c.Challenges)+c.Discoveries > 0 {
		t.Errorf("Azure was asked: %+v", c)
	}
}

// TestLoginInputs: each mode without what it needs. (azure-contract 7.2-7.10, 17.1, 17.17, 17.18)
func TestLoginInputs(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.put(t, "db", "v1")
	secrets := func(pairs ...string) func(*provider.Request) {
		return func(r *provider.Request) {
			r.Secrets = map[string]provider.Secret{}
			for i := 0; i+1 < len(pairs); i += 2 {
				r.Secrets[pairs[i]] = provider.Secret(pairs[i+1])
			}
		}
	}
	token := func(r *provider.Request) { g.asWorkload(t, r) }
	for name, tt := range map[string]struct {
		change func(*provider.Request)
		says   string // "" if it works
	}{
		"no secret":              {func(*provider.Request) {}, "ServicePrincipal: nodePublishSecretRef secret is not set"},
		"no id":                  {secrets("clientsecret", password), "could not find clientid"},
		"an empty id":            {secrets("clientid", " ", "clientsecret", password), "could not find clientid"},
		"no client secret":       {secrets("clientid", principal), "could not find clientsecret"},
		"in capitals":            {secrets("CLIENTID", principal, "ClientSECRET", password), ""},
		"with others":            {secrets("clientid", principal, "clientsecret", password, "tenant", "x", "", "y"), ""},
		"two spellings":          {secrets("CLIENTID", "x", "clientid", principal, "CLIENTSECRET", "x", "clientsecret", password), ""},
		"no tokens":              {both(token, func(r *provider.Request) { r.Tokens = nil }), "WorkloadIdentity: no service account token for audience " + federatedAudience},
		"no tokens, but secrets": {both(token, secrets("clientid", principal, "clientsecret", password), func(r *provider.Request) { r.Tokens = nil }), "no service account token"},
		"another audience":       {both(token, func(r *provider.Request) { r.Tokens = provider.Tokens{"vault": r.Tokens[federatedAudience]} }), "no service account token for audience"},
		"for the proxy":          {both(token, with("useAzureTokenProxy", "true")), "AzureTokenProxy: no service account token for audience " + bindingAudience},
		"node with a client":     {with("useVMManagedIdentity", "true", "clientID", "x"), ""},
		"pod with a client":      {with("usePodIdentity", "true", "clientID", "x"), ""},
	} {
		for range 10 { // a map has no order
			req := ask(podOf("u1"), oneSecret)
			tt.change(req)
			_, err := g.Mount(t.Context(), req)
			switch {
			case tt.says == "" && err != nil:
				t.Errorf("%s: %v", name, err)
			case tt.says != "" && (provider.KindOf(err) != provider.Invalid || !strings.Contains(err.Error(), tt.says) || stepOf(err) != provider.LoggingIn):
				t.Errorf("%s: kind %v, step %v: %v", name, provider.KindOf(err), stepOf(err), err)
			}
		}
	}
}
