package cloudtest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	azfake "github.com/Azure/azure-sdk-for-go/sdk/azcore/fake"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azcertificates"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets/fake"
	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/internal/azuretest/material"
)

// raw is a reply as it was sent.
func (g *ground) raw(t *testing.T, path string) []byte {
	t.Helper()
	token, err := g.principal(t).GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{g.Resource() + "/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.VaultURL("shop")+path+"?api-version=7.4", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", "application/json")
	request.Header.Set("Authorization", "Bearer "+token.Token)
	response, err := g.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil {
		t.Error(err)
	}
	return body
}

// What the SDK reads and writes again is what was sent: it knows every member and its type.
func TestTheSDKKnowsEveryMember(t *testing.T) {
	g := start(t)
	g.make(t, cloud.Recipe{Template: material.Template{Key: "ec-p256"}})
	for path, model := range map[string]json.Unmarshaler{
		"secrets/tls/":              &azsecrets.Secret{},
		"keys/tls/":                 &azkeys.KeyBundle{},
		"certificates/tls/":         &azcertificates.Certificate{},
		"secrets/tls/versions":      &azsecrets.SecretPropertiesListResult{},
		"keys/tls/versions":         &azkeys.KeyPropertiesListResult{},
		"certificates/tls/versions": &azcertificates.CertificatePropertiesListResult{},
	} {
		t.Run(path, func(t *testing.T) {
			sent := g.raw(t, path)
			if err := model.UnmarshalJSON(sent); err != nil {
				t.Fatal(err)
			}
			again, err := json.Marshal(model)
			if err != nil {
				t.Fatal(err)
			}
			var want, got map[string]any
			if err := json.Unmarshal(sent, &want); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(again, &got); err != nil {
				t.Fatal(err)
			}
			if want["nextLink"] == nil {
				delete(want, "nextLink")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-sent +understood):\n%s", diff)
			}
		})
	}
}

// The cloud takes requests apart as the SDK's own fake server does.
func TestSameQuestionsAsTheSDKsFake(t *testing.T) {
	g := start(t)
	id := g.put(t, "shop", "hunter2")
	var asked []cloud.Read
	server := fake.Server{GetSecret: func(_ context.Context, name, version string, _ *azsecrets.GetSecretOptions) (
		azfake.Responder[azsecrets.GetSecretResponse], azfake.ErrorResponder,
	) {
		asked = append(asked, cloud.Read{Vault: "shop", Client: principal, Op: "get", Kind: cloud.Secrets, Name: name, Version: version, Status: 200})
		var answer azfake.Responder[azsecrets.GetSecretResponse]
		answer.SetResponse(http.StatusOK, azsecrets.GetSecretResponse{}, nil)
		return answer, azfake.ErrorResponder{}
	}}
	options := g.data()
	options.Transport = fake.NewServerTransport(&server)
	faked, err := azsecrets.NewClient(g.VaultURL("shop"), &azfake.TokenCredential{},
		&azsecrets.ClientOptions{ClientOptions: options, DisableChallengeResourceVerification: true})
	if err != nil {
		t.Fatal(err)
	}
	ours := g.secrets(t, "shop", g.principal(t))
	for _, version := range []string{"", id} {
		for _, client := range []*azsecrets.Client{faked, ours} {
			if _, err := client.GetSecret(t.Context(), "db", version, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	var counted []cloud.Read
	for _, reads := range g.Counters().Reads {
		counted = append(counted, reads.Read)
	}
	if diff := cmp.Diff(asked, counted); diff != "" {
		t.Errorf("(-SDK +cloud):\n%s", diff)
	}
}
