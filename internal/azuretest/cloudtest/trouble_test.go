package cloudtest_test

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
)

// Names of vaults and objects have no case.
func TestCase(t *testing.T) {
	g := start(t)
	g.put(t, "shop", "hunter2")
	got, err := g.secrets(t, "Shop", g.principal(t)).GetSecret(t.Context(), "DB", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if *got.Value != "hunter2" || g.Counters().Count(cloud.Read{Vault: "shop", Name: "db"}) != 1 {
		t.Errorf("got %q and counted %+v", *got.Value, g.Counters().Reads)
	}
}

// A token can be used for as long as the cloud's clock allows, not the client's.
func TestTokenExpiresMidway(t *testing.T) {
	g := start(t)
	g.put(t, "shop", "hunter2")
	if err := g.Change(func(s *cloud.State) error { s.TokenSeconds = -1; return nil }); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.VaultURL("shop")+"secrets/db/?api-version=7.4", nil)
	if err != nil {
		t.Fatal(err)
	}
	token, err := g.machineToken(t)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := g.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
	if response.StatusCode != http.StatusUnauthorized || response.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("got %d, want 401 with a challenge", response.StatusCode)
	}
}

// machineToken asks without the SDK, which would refuse an expired token.
func (g *ground) machineToken(t *testing.T) (string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		"http://"+cloud.MetadataAddress+"/metadata/identity/oauth2/token?api-version=2018-02-01&resource="+g.Resource(), nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Metadata", "true")
	response, err := g.Client().Do(request)
	if err != nil {
		return "", err
	}
	var reply struct {
		Token string `json:"access_token"`
	}
	err = json.NewDecoder(response.Body).Decode(&reply)
	return reply.Token, errors.Join(err, response.Body.Close())
}

// The SDK waits as long as it is told, and asks twice again.
func TestQuota(t *testing.T) {
	g := start(t)
	g.put(t, "shop", "hunter2")
	err := g.Change(func(s *cloud.State) error {
		s.Vaults[0].Quota = &cloud.Quota{Requests: 3, Seconds: 600, RetryAfter: 1}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	client := g.secrets(t, "shop", g.principal(t))
	for range 2 { // one challenge and two reads
		if _, err = client.GetSecret(t.Context(), "db", "", nil); err != nil {
			t.Fatal(err)
		}
	}
	begun := time.Now()
	_, err = client.GetSecret(t.Context(), "db", "", nil)
	took := time.Since(begun)
	got := refused(t, err)
	if got.StatusCode != http.StatusTooManyRequests || got.ErrorCode != "Throttled" || got.RawResponse.Header.Get("Retry-After") != "1" {
		t.Errorf("got %v, want 429", err)
	}
	if took < 1900*time.Millisecond {
		t.Errorf("took %v, although a second was to be waited twice", took)
	}
	counters := g.Counters()
	if counters.Throttled["shop"] != 3 || counters.Count(cloud.Read{Status: 429}) != 3 {
		t.Errorf("counters %+v, want three throttled requests", counters)
	}
}

func TestVaultFaults(t *testing.T) {
	for name, f := range map[string]cloud.Fault{
		"unavailable":   {Status: 503, Times: 2},
		"broken":        {Status: 500, Code: "InternalServerError", Times: 1},
		"cut off":       {Reset: true, Skip: 1, Times: 1},
		"slow":          {Millis: 20},
		"asked to wait": {Status: 429, RetryAfter: "0", Times: 1},
		"token refused": {Status: 401, Skip: 1, Times: 1, Code: "Unauthorized"},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.put(t, "shop", "hunter2")
			f.Where, f.Vault = "vault", "shop"
			g.AddFault(f)
			_, err := g.secrets(t, "shop", g.principal(t)).GetSecret(t.Context(), "db", "", nil)
			if f.Status == 401 {
				// The SDK authenticates once per request; the next one succeeds.
				_, err = g.secrets(t, "shop", g.principal(t)).GetSecret(t.Context(), "db", "", nil)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
}

func TestUnknownRequestsAreViolations(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"api version":  func(r *http.Request) { r.URL.RawQuery = "api-version=7.5" },
		"none":         func(r *http.Request) { r.URL.RawQuery = "" },
		"parameter":    func(r *http.Request) { r.URL.RawQuery += "&x=1" },
		"path":         func(r *http.Request) { r.URL.Path = "/secrets" },
		"double slash": func(r *http.Request) { r.URL.Path = "//secrets/db" },
		"collection":   func(r *http.Request) { r.URL.Path = "/storage/db" },
		"method":       func(r *http.Request) { r.Method = http.MethodPut },
		"header":       func(r *http.Request) { r.Header.Set("If-None-Match", "x") },
		"no accept":    func(r *http.Request) { r.Header.Del("Accept") },
		"basic":        func(r *http.Request) { r.SetBasicAuth("a", "b") },
		"vault":        func(r *http.Request) { r.URL.Host = strings.Replace(r.URL.Host, "shop", "nowhere", 1) },
		"discovery": func(r *http.Request) {
			r.URL.Host = strings.Replace(r.URL.Host, "shop.vault", "login", 1)
			r.URL.Path, r.URL.RawQuery = "/common/discovery/instance", "api-version=1.1"
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.VaultURL("shop")+"secrets/db/?api-version=7.4", nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Accept", "application/json")
			change(request)
			request.Host = request.URL.Host
			response, err := g.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			if err := response.Body.Close(); err != nil {
				t.Error(err)
			}
			if response.StatusCode != http.StatusInternalServerError || len(g.Violations()) != 1 {
				t.Errorf("status %d and violations %v, want 500 and one", response.StatusCode, g.Violations())
			}
			g.ClearViolations()
		})
	}
}

func TestShortTokens(t *testing.T) {
	g := start(t)
	g.put(t, "shop", "hunter2")
	if err := g.Change(func(s *cloud.State) error { s.TokenSeconds = 1; return nil }); err != nil {
		t.Fatal(err)
	}
	client := g.secrets(t, "shop", g.principal(t))
	for deadline := time.Now().Add(time.Minute); g.Counters().Tokens[principal] < 2; {
		if time.Now().After(deadline) {
			t.Fatal("no second token in a minute, although they live for a second")
		}
		if _, err := client.GetSecret(t.Context(), "db", "", nil); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever looks for the public cloud at this address is seen before TLS fails.
func TestForeignNameIsAViolation(t *testing.T) {
	g := start(t)
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: g.Transport.TLSClientConfig.RootCAs, ServerName: "login.microsoftonline.com"}}
	if _, err := dialer.DialContext(t.Context(), "tcp", g.Addresses.TLS); err == nil {
		t.Error("the cloud passes for the public one")
	}
	violations := g.Violations()
	g.ClearViolations()
	if len(violations) != 1 || violations[0].Request != "connect login.microsoftonline.com" {
		t.Errorf("violations: %v, want one for the name", violations)
	}
}
