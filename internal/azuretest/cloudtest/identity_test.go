package cloudtest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/internal/azuretest/material"
)

// A class names its tenant by GUID, by domain, or "adfs".
func TestClientSecret(t *testing.T) {
	for name, vault := range map[string]string{tenant: "shop", domain: "shop", "adfs": "stack"} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			id := g.put(t, vault, "hunter2")
			client := g.secrets(t, vault, g.secretOf(t, name, principal, password))
			for range 2 {
				got, err := client.GetSecret(t.Context(), "db", "", nil)
				if err != nil {
					t.Fatal(err)
				}
				if *got.Value != "hunter2" || got.ID.Version() != id {
					t.Errorf("got %q of version %s, want hunter2 of %s", *got.Value, got.ID.Version(), id)
				}
			}
			counters := g.Counters()
			if counters.Tokens[principal] != 1 || counters.Challenges[vault] != 1 || counters.Count(cloud.Read{Op: "get", Name: "db"}) != 2 {
				t.Errorf("two reads cost %+v, want one token and one challenge", counters)
			}
		})
	}
}

// The vault's challenge names the tenant's GUID: a credential for its domain does not
// hand out tokens for that.
func TestDomainWithoutWrapper(t *testing.T) {
	g := start(t)
	g.put(t, "shop", "hunter2")
	credential, err := azidentity.NewClientSecretCredential(domain, principal, password,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: g.options(), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.secrets(t, "shop", credential).GetSecret(t.Context(), "db", "", nil)
	if err == nil || !strings.Contains(err.Error(), "isn't configured to acquire tokens for tenant") {
		t.Errorf("got %v, want a complaint about the tenant", err)
	}
}

// With instance discovery on, the SDK looks for the public login host.
func TestInstanceDiscoveryIsAViolation(t *testing.T) {
	g := start(t)
	g.put(t, "shop", "hunter2")
	credential, err := azidentity.NewClientSecretCredential(tenant, principal, password,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: g.options()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.secrets(t, "shop", credential).GetSecret(t.Context(), "db", "", nil); err == nil {
		t.Error("the secret was read")
	}
	violations := g.Violations()
	g.ClearViolations()
	if len(violations) == 0 || !strings.Contains(violations[0].Request, "login.microsoftonline.com") {
		t.Errorf("violations: %v, want a connection to the public login host", violations)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		name, tenant, client, secret, code string
		status                             int
	}{
		{"wrong secret", tenant, principal, "wrong", "AADSTS7000215", 401},
		{"unknown application", tenant, "aaaaaaaa-0000-0000-0000-00000000dead", password, "AADSTS700016", 400},
		{"unknown tenant", "99999999-2222-3333-4444-555555555555", principal, password, "AADSTS90002", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := start(t)
			_, err := g.secrets(t, "shop", g.secretOf(t, c.tenant, c.client, c.secret)).GetSecret(t.Context(), "db", "", nil)
			if err == nil || !strings.Contains(err.Error(), c.code) {
				t.Fatalf("got %v, want %s", err, c.code)
			}
			var failed *azidentity.AuthenticationFailedError
			if errors.As(err, &failed) && failed.RawResponse != nil && failed.RawResponse.StatusCode != c.status {
				t.Errorf("status %d, want %d", failed.RawResponse.StatusCode, c.status)
			}
		})
	}
}

func (g *ground) assertion(t *testing.T, change func(map[string]any)) string {
	t.Helper()
	now := time.Now().Unix()
	claims := map[string]any{
		"iss": issuer, "sub": subject, "aud": []string{"api://AzureADTokenExchange"}, "iat": now, "nbf": now, "exp": now + 3600,
	}
	if change != nil {
		change(claims)
	}
	token, err := cloud.Sign(g.cluster, "cluster", claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (g *ground) federated(t *testing.T, client, assertion string) azcore.TokenCredential {
	t.Helper()
	credential, err := azidentity.NewClientAssertionCredential(tenant, client, func(context.Context) (string, error) { return assertion, nil },
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: g.options(), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	return classes{credential}
}

func TestFederation(t *testing.T) {
	for name, c := range map[string]struct {
		client, want string
		change       func(map[string]any)
		foreign      bool
	}{
		"as agreed":          {client: workload},
		"another subject":    {client: workload, change: func(c map[string]any) { c["sub"] = "system:serviceaccount:shop:db" }, want: "AADSTS70021:"},
		"another audience":   {client: workload, change: func(c map[string]any) { c["aud"] = "vault" }, want: "AADSTS70021:"},
		"another issuer":     {client: workload, change: func(c map[string]any) { c["iss"] = "https://elsewhere" }, want: "AADSTS70021:"},
		"nothing agreed":     {client: principal, want: "AADSTS70021:"},
		"expired":            {client: workload, change: func(c map[string]any) { c["exp"] = time.Now().Unix() - 1 }, want: "AADSTS700024:"},
		"signed by a forger": {client: workload, foreign: true, want: "AADSTS50013:"},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.put(t, "shop", "hunter2")
			if c.foreign {
				var err error
				if g.cluster, err = material.NewKey("ec-p256"); err != nil {
					t.Fatal(err)
				}
			}
			_, err := g.secrets(t, "shop", g.federated(t, c.client, g.assertion(t, c.change))).GetSecret(t.Context(), "db", "", nil)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func (g *ground) managed(t *testing.T, client string) azcore.TokenCredential {
	t.Helper()
	options := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: g.options()}
	if client != "" {
		options.ID = azidentity.ClientID(client)
	}
	credential, err := azidentity.NewManagedIdentityCredential(options)
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

func TestManagedIdentity(t *testing.T) {
	for name, c := range map[string]struct{ client, counted, want string }{
		"system assigned": {"", machine, ""},
		"user assigned":   {assigned, assigned, ""},
		"not assigned":    {workload, "", "isn't assigned to this resource"},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			g.put(t, "shop", "hunter2")
			_, err := g.secrets(t, "shop", g.managed(t, c.client)).GetSecret(t.Context(), "db", "", nil)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if counters := g.Counters(); counters.MetadataTokens[c.counted] != 1 || counters.Count(cloud.Read{Client: c.counted}) != 1 {
				t.Errorf("counters %+v, want one token and one read of %s", counters, c.counted)
			}
		})
	}
}

func TestMetadataFaults(t *testing.T) {
	for name, f := range map[string]cloud.Fault{
		"not there yet":     {Status: http.StatusNotFound, Times: 2},
		"being updated":     {Status: http.StatusGone, Times: 2},
		"too many requests": {Status: http.StatusTooManyRequests, Times: 2},
		"cut off":           {Reset: true, Times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			f.Where = "metadata"
			g.AddFault(f)
			options := policy.TokenRequestOptions{Scopes: []string{g.Resource() + "/.default"}}
			if _, err := g.managed(t, "").GetToken(t.Context(), options); err != nil {
				t.Error(err)
			}
			if refused := g.Counters().MetadataRefused[machine]; f.Status != 0 && refused != f.Times {
				t.Errorf("%d refusals, want %d", refused, f.Times)
			}
		})
	}
}

func TestBlackHole(t *testing.T) {
	g := start(t)
	g.AddFault(cloud.Fault{Where: "metadata", Hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := g.managed(t, "").GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{g.Resource() + "/.default"}})
	if !errors.Is(err, context.DeadlineExceeded) && (err == nil || !strings.Contains(err.Error(), "deadline")) {
		t.Errorf("got %v, want that the deadline passed", err)
	}
}
