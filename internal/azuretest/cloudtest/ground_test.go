package cloudtest_test

import (
	"context"
	"crypto"
	"errors"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	sdkcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/internal/azuretest/cloudtest"
	"github.com/strongroom/strongroom/internal/azuretest/material"
)

const (
	tenant    = "11111111-2222-3333-4444-555555555555"
	domain    = "contoso.test"
	principal = "aaaaaaaa-0000-0000-0000-000000000001"
	workload  = "aaaaaaaa-0000-0000-0000-000000000002"
	machine   = "aaaaaaaa-0000-0000-0000-000000000003"
	assigned  = "aaaaaaaa-0000-0000-0000-000000000004"
	stranger  = "aaaaaaaa-0000-0000-0000-000000000005"
	password  = "s3cret~value"
	issuer    = "https://kubernetes.default.svc.cluster.local"
	subject   = "system:serviceaccount:shop:web"
)

// ground is a cloud with two tenants, three vaults and an identity of each sort.
type ground struct {
	*cloudtest.Running
	cluster crypto.Signer
}

func start(t *testing.T) *ground {
	t.Helper()
	cluster, err := material.NewKey("ec-p256")
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := cloud.JWKS("cluster", cluster.Public())
	if err != nil {
		t.Fatal(err)
	}
	all := cloud.Access{
		cloud.Secrets: {"get", "list"}, cloud.Keys: {"get", "list"}, cloud.Certificates: {"get", "list"},
	}
	access := map[string]cloud.Access{principal: all, workload: all, machine: all, assigned: all}
	apps := []cloud.Application{
		{ClientID: principal, Secrets: []string{password}},
		{ClientID: workload, Federated: []cloud.Federation{{Issuer: issuer, Subject: subject}}},
		{ClientID: machine},
		{ClientID: assigned},
		{ClientID: stranger, Secrets: []string{password}},
	}
	running := cloudtest.Start(t, cloud.Config{State: cloud.State{
		Tenants: []cloud.Tenant{
			{ID: tenant, Domains: []string{domain}, Applications: apps},
			{ID: "adfs", Applications: apps[:1]},
		},
		Issuers: []cloud.Issuer{{URL: issuer, JWKS: jwks}},
		Vaults: []cloud.Vault{
			{Name: "shop", Tenant: tenant, Access: access},
			{Name: "roles", Tenant: tenant, Access: access, RBAC: true},
			{Name: "stack", Tenant: "adfs", Access: access},
		},
		Machine: cloud.Machine{Tenant: tenant, System: machine, Assigned: []string{assigned}},
	}})
	return &ground{Running: running, cluster: cluster}
}

// options are for credentials. They refuse an API version.
func (g *ground) options() azcore.ClientOptions {
	return azcore.ClientOptions{
		Transport: g.Client(),
		Cloud:     sdkcloud.Configuration{ActiveDirectoryAuthorityHost: g.Authority()},
		Retry:     policy.RetryOptions{MaxRetries: 2, RetryDelay: time.Millisecond, MaxRetryDelay: 10 * time.Second},
	}
}

// data are options for the clients of vaults. Their own API version is newer.
func (g *ground) data() azcore.ClientOptions {
	options := g.options()
	options.APIVersion = "7.4"
	return options
}

// classes asks for tokens of its own tenant, not of the vault's.
type classes struct{ azcore.TokenCredential }

func (c classes) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	o.TenantID = ""
	return c.TokenCredential.GetToken(ctx, o)
}

func (g *ground) secretOf(t testing.TB, tenant, client, value string) azcore.TokenCredential {
	t.Helper()
	credential, err := azidentity.NewClientSecretCredential(tenant, client, value,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: g.options(), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	return classes{credential}
}

func (g *ground) principal(t testing.TB) azcore.TokenCredential {
	t.Helper()
	return g.secretOf(t, tenant, principal, password)
}

func (g *ground) secrets(t testing.TB, vault string, credential azcore.TokenCredential) *azsecrets.Client {
	t.Helper()
	client, err := azsecrets.NewClient(g.VaultURL(vault), credential, &azsecrets.ClientOptions{ClientOptions: g.data()})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (g *ground) keys(t *testing.T, vault string) *azkeys.Client {
	t.Helper()
	client, err := azkeys.NewClient(g.VaultURL(vault), g.principal(t), &azkeys.ClientOptions{ClientOptions: g.data()})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (g *ground) certificates(t *testing.T, vault string) *azcertificates.Client {
	t.Helper()
	client, err := azcertificates.NewClient(g.VaultURL(vault), g.principal(t), &azcertificates.ClientOptions{ClientOptions: g.data()})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// put adds a version of the secret db.
func (g *ground) put(t *testing.T, vault, value string) string {
	t.Helper()
	id, err := g.PutSecret(vault, "db", value)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// refused is the error as the SDK understands it.
func refused(t *testing.T, err error) *azcore.ResponseError {
	t.Helper()
	var response *azcore.ResponseError
	if !errors.As(err, &response) {
		t.Fatalf("got %v, want an answer with an error", err)
	}
	return response
}
