package azure

import (
	"crypto"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/internal/azuretest/cloudtest"
	"github.com/strongroom/strongroom/internal/azuretest/material"
	"github.com/strongroom/strongroom/provider"
)

const (
	tenant    = "11111111-2222-3333-4444-555555555555"
	domain    = "contoso.test"
	principal = "aaaaaaaa-0000-0000-0000-000000000001"
	workload  = "aaaaaaaa-0000-0000-0000-000000000002"
	machine   = "aaaaaaaa-0000-0000-0000-000000000003"
	assigned  = "aaaaaaaa-0000-0000-0000-000000000004"
	password  = "s3cret~value"
	issuer    = "https://kubernetes.default.svc.cluster.local"
)

// ground is a cloud with a vault, and a provider that reaches nothing else.
type ground struct {
	*cloudtest.Running
	*Provider
	cluster crypto.Signer
	stack   string // the file that defines the cloud
}

func newGround(t *testing.T) *ground {
	t.Helper()
	return groundOf(t, cloudtest.Start)
}

// newBubble is one in which time passes at once, for a synctest bubble.
func newBubble(t *testing.T) *ground {
	t.Helper()
	return groundOf(t, cloudtest.Bubble)
}

func groundOf(t *testing.T, start func(testing.TB, cloud.Config) *cloudtest.Running) *ground {
	t.Helper()
	cluster, err := material.NewKey("ec-p256")
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := cloud.JWKS("cluster", cluster.Public())
	if err != nil {
		t.Fatal(err)
	}
	all := cloud.Access{cloud.Secrets: {"get", "list"}, cloud.Keys: {"get", "list"}, cloud.Certificates: {"get", "list"}}
	g := &ground{cluster: cluster, Running: start(t, cloud.Config{State: cloud.State{
		Tenants: []cloud.Tenant{{ID: tenant, Domains: []string{domain}, Applications: []cloud.Application{
			{ClientID: principal, Secrets: []string{password}},
			{ClientID: workload, Federated: []cloud.Federation{{Issuer: issuer, Subject: "system:serviceaccount:shop:web"}}},
			{ClientID: machine},
			{ClientID: assigned},
		}}},
		Issuers: []cloud.Issuer{{URL: issuer, JWKS: jwks}},
		Vaults:  []cloud.Vault{{Name: "shop", Tenant: tenant, Access: map[string]cloud.Access{principal: all, workload: all, machine: all, assigned: all}}},
		Machine: cloud.Machine{Tenant: tenant, System: machine, Assigned: []string{assigned}},
		Cluster: cloud.Cluster{ID: clusterOne, Bindings: []cloud.Binding{{ClientID: workload, Subject: "system:serviceaccount:shop:web"}}},
		Pods: []cloud.Pod{
			{Namespace: "shop", Name: "web-u1", ClientID: assigned},
			{Namespace: "shop", Name: "web-u2", ClientID: machine},
			{Namespace: "shop", Name: "web-string", ClientID: assigned, Times: "string"},
			{Namespace: "shop", Name: "web-date", ClientID: assigned, Times: "date"},
		},
	}})}
	text, err := json.Marshal(g.Stack())
	if err != nil {
		t.Fatal(err)
	}
	g.stack = filepath.Join(t.TempDir(), "stack.json")
	if err = os.WriteFile(g.stack, text, 0o600); err != nil {
		t.Fatal(err)
	}
	g.Provider, err = New(Config{
		Flags: g.flags(),
		Getenv: func(name string) string {
			return map[string]string{"AZURE_ENVIRONMENT_FILEPATH": g.stack}[name]
		},
		Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	g.transport = bounded{g.Client()}
	g.proxy.dial, g.proxy.caFile = g.Transport.DialContext, filepath.Join(t.TempDir(), "ca.crt")
	g.writeCA(t, g.ClusterCA())
	return g
}

func (g *ground) flags() Flags {
	return Flags{
		Cloud: "AzureStackCloud", OrderChain: true, APIVersion: "7.4", PinnedMaxAge: time.Hour, MaxStaleIfError: time.Hour, AllowNodeIdentity: true,
	}
}

// token is the pod's, for Azure, as kubelet would bring it.
func (g *ground) token(t *testing.T, pod provider.Pod, life time.Duration) provider.Token {
	t.Helper()
	return g.tokenFor(t, federatedAudience, pod, life)
}

func (g *ground) tokenFor(t *testing.T, audience string, pod provider.Pod, life time.Duration) provider.Token {
	t.Helper()
	expires := time.Now().Add(life)
	text, err := cloud.Sign(g.cluster, "cluster", map[string]any{
		"iss": issuer, "sub": "system:serviceaccount:" + pod.Namespace + ":" + pod.ServiceAccount, "aud": []string{audience},
		"iat": time.Now().Add(-time.Minute).Unix(), "nbf": time.Now().Add(-time.Minute).Unix(), "exp": expires.Unix(),
		"kubernetes.io": map[string]any{"serviceaccount": map[string]string{"uid": "sa-1"}, "pod": map[string]string{"uid": pod.UID}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return provider.Token{Value: provider.Secret(text), Expires: expires}
}

func podOf(uid string) provider.Pod {
	return provider.Pod{Name: "web-" + uid, Namespace: "shop", UID: uid, ServiceAccount: "web"}
}

// ask is a pod's request. Pairs change the class.
func ask(pod provider.Pod, objects string, pairs ...string) *provider.Request {
	req := &provider.Request{
		Pod: pod, Class: "web", Mode: 0o644, Volume: provider.VolumeID("csi-" + pod.UID), Tells: true,
		Parameters: map[string]string{"keyvaultName": "shop", "tenantID": tenant, "objects": objects},
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		req.Parameters[pairs[i]] = pairs[i+1]
	}
	return req
}

func (g *ground) asPrincipal(req *provider.Request) *provider.Request {
	req.Secrets = map[string]provider.Secret{"clientid": principal, "ClientSecret": password}
	return req
}

func (g *ground) asWorkload(t *testing.T, req *provider.Request) *provider.Request {
	t.Helper()
	req.Parameters["clientID"] = workload
	req.Tokens = provider.Tokens{federatedAudience: g.token(t, req.Pod, time.Hour)}
	return req
}
