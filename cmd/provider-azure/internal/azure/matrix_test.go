package azure

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/provider"
)

func stepOf(err error) provider.Step {
	if e, ok := errors.AsType[*provider.Error](err); ok {
		return e.Step
	}
	return provider.Unstated
}

func waitOf(err error) time.Duration {
	if e, ok := errors.AsType[*provider.Error](err); ok {
		return e.RetryAfter
	}
	return 0
}

// mishap is one thing that Azure says, and what becomes of it.
type mishap struct {
	fault  cloud.Fault
	change func(t *testing.T, g *ground, req *provider.Request)
	kind   provider.Kind
	step   provider.Step
	wait   time.Duration
	says   []string
	reads  int // with a token
	tokens int // asked for
}

func state(change func(*cloud.State)) func(*testing.T, *ground, *provider.Request) {
	return func(t *testing.T, g *ground, _ *provider.Request) {
		t.Helper()
		if err := g.Change(func(s *cloud.State) error { change(s); return nil }); err != nil {
			t.Fatal(err)
		}
	}
}

func vaultMishaps() map[string]mishap {
	vault := func(status int) cloud.Fault { return cloud.Fault{Where: "vault", Status: status, Skip: 1} }
	missing := func(kind string) func(*testing.T, *ground, *provider.Request) {
		return func(_ *testing.T, _ *ground, r *provider.Request) {
			r.Parameters["objects"] = `array: ["{objectName: none, objectType: ` + kind + `}"]`
		}
	}
	return map[string]mishap{
		"400":       {fault: vault(400), kind: provider.Invalid, step: provider.Reading, says: []string{"400"}, reads: 1, tokens: 1},
		"403":       {fault: vault(403), kind: provider.Denied, step: provider.Reading, says: []string{"403"}, reads: 1, tokens: 1},
		"404":       {fault: vault(404), kind: provider.NotFound, step: provider.Reading, says: []string{"404"}, reads: 1, tokens: 1},
		"408":       {fault: vault(408), kind: provider.Unavailable, step: provider.Reading, says: []string{"408"}, reads: 4, tokens: 1},
		"429":       {fault: vault(429), kind: provider.Throttled, step: provider.Reading, says: []string{"429"}, reads: 4, tokens: 1},
		"429, soon": {fault: cloud.Fault{Where: "vault", Status: 429, Skip: 1, RetryAfter: "2"}, kind: provider.Throttled, step: provider.Reading, wait: 2 * time.Second, says: []string{"429"}, reads: 4, tokens: 1},
		"429, late": {fault: cloud.Fault{Where: "vault", Status: 429, Skip: 1, RetryAfter: "120"}, kind: provider.Throttled, step: provider.Reading, wait: 2 * time.Minute, says: []string{"429"}, reads: 1, tokens: 1},
		"500":       {fault: vault(500), kind: provider.Unavailable, step: provider.Reading, says: []string{"500"}, reads: 4, tokens: 1},
		"501":       {fault: vault(501), kind: provider.Unavailable, step: provider.Reading, says: []string{"501"}, reads: 1, tokens: 1},
		"502":       {fault: vault(502), kind: provider.Unavailable, step: provider.Reading, says: []string{"502"}, reads: 4, tokens: 1},
		"503":       {fault: vault(503), kind: provider.Unavailable, step: provider.Reading, says: []string{"503"}, reads: 4, tokens: 1},
		"504":       {fault: vault(504), kind: provider.Unavailable, step: provider.Reading, says: []string{"504"}, reads: 4, tokens: 1},
		"reset":     {fault: cloud.Fault{Where: "vault", Reset: true, Skip: 1}, kind: provider.Unavailable, step: provider.Reading, reads: 5, tokens: 1},
		"hang":      {fault: cloud.Fault{Where: "vault", Hang: true, Skip: 1}, kind: provider.Timeout, step: provider.Reading, says: []string{"no time was left"}, reads: 4, tokens: 1},
		"garbage":   {fault: cloud.Fault{Where: "vault", Status: 200, Skip: 1, Body: "<html>" + canary}, kind: provider.Unavailable, step: provider.Reading, says: []string{"cannot be understood"}, reads: 1, tokens: 1},
		"firewall": {
			change: state(func(s *cloud.State) { s.Vaults[0].Firewall = true }), kind: provider.Denied, step: provider.Reading,
			says: []string{"ForbiddenByFirewall", "private endpoint"}, reads: 1, tokens: 1,
		},
		"policy": {
			change: state(func(s *cloud.State) { clear(s.Vaults[0].Access) }), kind: provider.Denied, step: provider.Reading,
			says: []string{"ForbiddenByPolicy", "access policies"}, reads: 1, tokens: 1,
		},
		"role": {
			change: state(func(s *cloud.State) { clear(s.Vaults[0].Access); s.Vaults[0].RBAC = true }), kind: provider.Denied, step: provider.Reading,
			says: []string{"ForbiddenByRbac", "Key Vault Secrets User"}, reads: 1, tokens: 1,
		},
		"no secret":      {change: missing("secret"), kind: provider.NotFound, step: provider.Reading, says: []string{"SecretNotFound", "create the secret"}, reads: 1, tokens: 1},
		"no key":         {change: missing("key"), kind: provider.NotFound, step: provider.Reading, says: []string{"KeyNotFound", "create the key"}, reads: 1, tokens: 1},
		"no certificate": {change: missing("cert"), kind: provider.NotFound, step: provider.Reading, says: []string{"CertificateNotFound", "create the certificate"}, reads: 1, tokens: 1},
	}
}

// stateMishaps are those of vaults that are as they should not be.
func stateMishaps() map[string]mishap {
	return map[string]mishap{
		"deleted": {change: func(t *testing.T, g *ground, _ *provider.Request) {
			if err := g.Delete(cloud.Place{Vault: "shop", Kind: cloud.Secrets, Name: "db"}); err != nil {
				t.Error(err)
			}
		}, kind: provider.NotFound, step: provider.Reading, says: []string{"SecretNotFound", "deleted"}, reads: 1, tokens: 1},
		"disabled": {change: func(t *testing.T, g *ground, _ *provider.Request) {
			if err := g.SetEnabled(cloud.Place{Vault: "shop", Kind: cloud.Secrets, Name: "db"}, "", false); err != nil {
				t.Error(err)
			}
		}, kind: provider.Denied, step: provider.Reading, says: []string{"SecretDisabled", "enable the version"}, reads: 1, tokens: 1},
		"another tenant's vault": {change: state(func(s *cloud.State) {
			s.Tenants = append(s.Tenants, cloud.Tenant{ID: "99999999-0000-0000-0000-000000000000"})
			s.Vaults[0].Tenant = s.Tenants[1].ID
		}), kind: provider.Denied, step: provider.Reading, says: []string{"AKV10032", "tenantID"}, reads: 1, tokens: 1},
		"for another host": {
			change: state(func(s *cloud.State) {
				s.Vaults[0].Challenge = `Bearer authorization="https://login.azure.test/x", resource="https://evil.test"`
			}), kind: provider.Invalid, step: provider.Reading, says: []string{"evil.test", "no Key Vault of that cloud"},
		},
		"a challenge without resource": {
			change: state(func(s *cloud.State) { s.Vaults[0].Challenge = `Bearer authorization="https://login.azure.test/x"` }),
			kind:   provider.Unavailable, step: provider.Reading, says: []string{"resource"},
		},
		"a challenge that is none": {
			change: state(func(s *cloud.State) { s.Vaults[0].Challenge = `Bearer authorization="x"` }),
			kind:   provider.Denied, step: provider.Reading, says: []string{"401"},
		},
	}
}

func loginMishaps() map[string]mishap {
	workloads := func(t *testing.T, g *ground, r *provider.Request) { t.Helper(); r.Secrets = nil; g.asWorkload(t, r) }
	node := func(_ *testing.T, _ *ground, r *provider.Request) { r.Parameters["useVMManagedIdentity"] = "true" }
	login := func(status int, body string) cloud.Fault {
		return cloud.Fault{Where: "authority", Status: status, Body: body}
	}
	return map[string]mishap{
		"wrong secret": {change: func(_ *testing.T, _ *ground, r *provider.Request) { r.Secrets["ClientSecret"] = "wr0ng~secret" }, kind: provider.Denied, step: provider.LoggingIn, says: []string{"AADSTS7000215", "make a new one"}, tokens: 1},
		"wrong client": {change: func(_ *testing.T, _ *ground, r *provider.Request) {
			r.Secrets["clientid"] = "bbbbbbbb-0000-0000-0000-000000000001"
		}, kind: provider.Denied, step: provider.LoggingIn, says: []string{"AADSTS700016", "bbbbbbbb-0000-0000-0000-000000000001"}, tokens: 1},
		"wrong tenant": {change: func(_ *testing.T, _ *ground, r *provider.Request) { r.Parameters["tenantID"] = "nobody.test" }, kind: provider.Denied, step: provider.LoggingIn, says: []string{"AADSTS90002", "no such tenant"}},
		"no federation": {change: func(t *testing.T, g *ground, r *provider.Request) {
			r.Pod.ServiceAccount = "stranger"
			workloads(t, g, r)
		}, kind: provider.Denied, step: provider.LoggingIn, says: []string{"AADSTS70021", "system:serviceaccount"}, tokens: 1},
		"expired proof": {change: func(t *testing.T, g *ground, r *provider.Request) {
			workloads(t, g, r)
			r.Tokens[federatedAudience] = g.token(t, r.Pod, -time.Minute)
		}, kind: provider.Denied, step: provider.LoggingIn, says: []string{"expired", "requiresRepublish"}},
		"login 400":                {fault: login(400, `{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys are expired."}`), kind: provider.Denied, step: provider.LoggingIn, says: []string{"AADSTS7000222", "has expired"}, tokens: 1},
		"login 403 of none":        {fault: login(403, "<html>"+canary), kind: provider.Unavailable, step: provider.LoggingIn, says: []string{"403", "something between"}, tokens: 1},
		"login 429":                {fault: cloud.Fault{Where: "authority", Status: 429, RetryAfter: "30"}, kind: provider.Throttled, step: provider.LoggingIn, wait: 30 * time.Second, says: []string{"429"}, tokens: 1},
		"login 503":                {fault: login(503, ""), kind: provider.Unavailable, step: provider.LoggingIn, says: []string{"503"}, tokens: 4},
		"login garbage":            {fault: login(200, canary), kind: provider.Unavailable, step: provider.LoggingIn, says: []string{"not shown"}, tokens: 1},
		"login reset":              {fault: cloud.Fault{Where: "authority", Reset: true}, kind: provider.Unavailable, step: provider.LoggingIn, says: []string{"login.azure.test"}},
		"login hangs":              {fault: cloud.Fault{Where: "authority", Hang: true}, kind: provider.Unavailable, step: provider.LoggingIn, says: []string{"context deadline exceeded"}},
		"node 400":                 {change: node, fault: cloud.Fault{Where: "metadata", Status: 400, Code: "invalid_request", Message: "Identity not found"}, kind: provider.Denied, step: provider.LoggingIn, says: []string{"400 invalid_request: Identity not found", "VMManagedIdentity", "give the identity to the virtual machine"}, tokens: 1},
		"node 400 of none":         {change: node, fault: cloud.Fault{Where: "metadata", Status: 400, Body: "<html>" + canary}, kind: provider.Unavailable, step: provider.LoggingIn, says: []string{"400", "something between"}, tokens: 1},
		"node 404":                 {change: node, fault: cloud.Fault{Where: "metadata", Status: 404}, kind: provider.Unavailable, step: provider.LoggingIn, says: []string{"404"}, tokens: 5},
		"node 410":                 {change: node, fault: cloud.Fault{Where: "metadata", Status: 410}, kind: provider.Unavailable, step: provider.LoggingIn, says: []string{"410"}, tokens: 5},
		"node 429":                 {change: node, fault: cloud.Fault{Where: "metadata", Status: 429}, kind: provider.Throttled, step: provider.LoggingIn, says: []string{"429"}, tokens: 5},
		"node, a token of nothing": {change: node, fault: cloud.Fault{Where: "metadata", Status: 200, Body: `{"access_token":"","expires_on":"1"}`}, kind: provider.Unavailable, step: provider.LoggingIn, says: []string{"token"}, tokens: 1},
		"node hangs":               {change: node, fault: cloud.Fault{Where: "metadata", Hang: true}, kind: provider.Unavailable, step: provider.LoggingIn, says: []string{"169.254.169.254", "has it a managed identity"}},
	}
}

// TestFailures: what kind of failure each is, how often Azure is asked, and that the
// text says vault, identity, object, cause and cure. (azure-contract 17.17, 17.18, 17.20,
// 17.22, 17.23, 17.37)
func TestFailures(t *testing.T) {
	t.Parallel()
	for _, all := range []map[string]mishap{vaultMishaps(), stateMishaps(), loginMishaps()} {
		for name, w := range all {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, w.try)
			})
		}
	}
}

func (w mishap) try(t *testing.T) {
	g := newBubble(t)
	g.put(t, "db", canary)
	if w.fault.Where != "" {
		g.AddFault(w.fault)
	}
	req := g.asPrincipal(ask(podOf("u1"), oneSecret))
	if w.change != nil {
		w.change(t, g, req)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	_, err := g.Mount(ctx, req)
	if provider.KindOf(err) != w.kind || stepOf(err) != w.step || waitOf(err) != w.wait {
		t.Errorf("kind %v, step %v, wait %v: %v", provider.KindOf(err), stepOf(err), waitOf(err), err)
	}
	if err == nil {
		return
	}
	w.checkText(t, req, err.Error())
	c := g.Counters()
	tokens := 0
	for _, counted := range []map[string]int{c.Tokens, c.Refused, c.MetadataTokens, c.MetadataRefused} {
		for _, n := range counted {
			tokens += n
		}
	}
	if reads := c.Count(cloud.Read{}); reads != w.reads || tokens != w.tokens {
		t.Errorf("%d reads, %d requests for tokens: %v", reads, tokens, err)
	}
}

func (w mishap) checkText(t *testing.T, req *provider.Request, text string) {
	t.Helper()
	says := append([]string{}, w.says...)
	if !strings.Contains(text, "the pod's service account token expired") { // Azure was not asked
		says = append(says, "vault shop", "failed to get objectType:", "objectName:")
	}
	for _, want := range says {
		if !strings.Contains(text, want) {
			t.Errorf("want %q in %s", want, text)
		}
	}
	for _, never := range []string{canary, password, "wr0ng~secret", "eyJ", string(req.Tokens[federatedAudience].Value)} {
		if never != "" && strings.Contains(text, never) {
			t.Errorf("%q is told: %s", never, text)
		}
	}
	if strings.ContainsFunc(text, unicode.IsControl) || len(text) > 2000 {
		t.Errorf("%d bytes: %q", len(text), text)
	}
}

// TestNetworkTrouble: what the network says when there is no Azure at all.
func TestNetworkTrouble(t *testing.T) {
	t.Parallel()
	for says, err := range map[string]error{
		"no such host":       &net.DNSError{Err: "no such host", Name: "shop.vault.azure.test", IsNotFound: true},
		"connection refused": &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED},
		"network is unreach": &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ENETUNREACH},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := newBubble(t)
			g.transport = bounded{&http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, err }}}}
			_, got := g.Mount(t.Context(), g.asPrincipal(ask(podOf("u1"), oneSecret)))
			if provider.KindOf(got) != provider.Unavailable || stepOf(got) != provider.Reading || !strings.Contains(got.Error(), says) || !strings.Contains(got.Error(), "shop.vault.azure.test") {
				t.Errorf("kind %v, step %v: %v", provider.KindOf(got), stepOf(got), got)
			}
		})
	}
}

// TestEndlessReplies: nobody fills the memory with a reply, in whatever way and whose
// place. (azure-contract 17.26)
func TestEndlessReplies(t *testing.T) {
	t.Parallel()
	pour := func(text string, status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			for chunk := []byte(strings.Repeat(text, 1000)); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}
	}
	for name, h := range map[string]http.HandlerFunc{
		"one string":     pour("A", 200),
		"deep JSON":      pour("[", 200),
		"an error":       pour("A", 403),
		"an error again": pour("{\"a\":", 404),
		"a redirect": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://evil.test/")
			w.WriteHeader(http.StatusFound)
		},
		"long headers": func(w http.ResponseWriter, _ *http.Request) {
			for i := range 100 {
				w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 10_000))
			}
		},
		"nothing": func(http.ResponseWriter, *http.Request) {},
	} {
		for _, where := range []string{"vault", "authority"} {
			t.Run(name+" of the "+where, func(t *testing.T) {
				t.Parallel()
				g := newGround(t)
				g.put(t, "db", "v1")
				evil := httptest.NewTLSServer(h)
				t.Cleanup(evil.Close)
				g.transport = bounded{&http.Client{CheckRedirect: newTransport().CheckRedirect, Transport: &detour{inner: g.Transport, to: evil.Listener.Addr().String(), where: where, client: evil.Client().Transport}}}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				_, err := g.Mount(ctx, g.asPrincipal(ask(podOf("u1"), oneSecret)))
				runtime.ReadMemStats(&after)
				if err == nil || len(err.Error()) > 2000 {
					t.Errorf("%.500v", err)
				}
				if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 500<<20 {
					t.Errorf("%d bytes more", grown)
				}
			})
		}
	}
}

// detour answers reads with a token, or requests for one, from somewhere else.
type detour struct {
	inner, client http.RoundTripper
	to, where     string
}

// RoundTrip implements [http.RoundTripper].
func (d *detour) RoundTrip(r *http.Request) (*http.Response, error) {
	vault := strings.HasPrefix(r.URL.Host, "shop.") && r.Header.Get("Authorization") != ""
	login := strings.HasSuffix(r.URL.Path, "/token")
	if strings.Contains(r.URL.Host, "evil") {
		return nil, errors.New("a redirect was followed")
	}
	if vault && d.where == "vault" || login && d.where == "authority" {
		r = r.Clone(r.Context())
		r.URL.Host = d.to
		return d.client.RoundTrip(r)
	}
	return d.inner.RoundTrip(r)
}

// TestEveryoneIsTold: what one read finds out, all who wait are told, each with the
// name of his own object.
func TestEveryoneIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.AddFault(cloud.Fault{Where: "vault", Status: 403, Inner: "ForbiddenByPolicy", Code: "Forbidden", Skip: 1, Millis: 1000})
		var group sync.WaitGroup
		for i := range 20 {
			group.Go(func() {
				_, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf(fmt.Sprint(i)), fmt.Sprintf(`array: ["{objectName: db, objectType: secret, objectAlias: a%d}"]`, i))))
				if provider.KindOf(err) != provider.Denied || !strings.Contains(err.Error(), "access policies") {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if n := g.reads(); n != 1 {
			t.Errorf("%d reads", n)
		}
	})
}
