package cloudtest_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/internal/azuretest/material"
)

// versions are all that the SDK lists.
func (g *ground) versions(t *testing.T) (all, disabled []string) {
	t.Helper()
	pager := g.secrets(t, "shop", g.principal(t)).NewListSecretPropertiesVersionsPager("db", nil)
	for pager.More() {
		page, err := pager.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range page.Value {
			all = append(all, item.ID.Version())
			if !*item.Attributes.Enabled {
				disabled = append(disabled, item.ID.Version())
			}
		}
	}
	return all, disabled
}

func TestVersions(t *testing.T) {
	g := start(t)
	var want []string
	for range 7 {
		want = append(want, g.put(t, "shop", "value"))
	}
	if err := g.SetEnabled(cloud.Place{Vault: "shop", Kind: cloud.Secrets, Name: "db"}, want[2], false); err != nil {
		t.Fatal(err)
	}
	if err := g.Change(func(s *cloud.State) error { s.Vaults[0].PageSize = 3; return nil }); err != nil {
		t.Fatal(err)
	}
	all, disabled := g.versions(t)
	if sorted := slices.Sorted(slices.Values(want)); !slices.Equal(all, sorted) {
		t.Errorf("got versions %v, want %v", all, sorted)
	}
	if !slices.Equal(disabled, want[2:3]) {
		t.Errorf("versions %v are disabled, want %v", disabled, want[2])
	}
	if pages := g.Counters().Count(cloud.Read{Op: "list"}); pages != 3 {
		t.Errorf("%d pages, want 3", pages)
	}
	pinned, err := g.secrets(t, "shop", g.principal(t)).GetSecret(t.Context(), "db", want[4], nil)
	if err != nil {
		t.Fatal(err)
	}
	if pinned.ID.Version() != want[4] {
		t.Errorf("got version %s, want the pinned %s", pinned.ID.Version(), want[4])
	}
}

// inner is the inner code of a Key Vault error.
func inner(t *testing.T, err error) string {
	t.Helper()
	var body struct {
		Error struct {
			Inner struct {
				Code string `json:"code"`
			} `json:"innererror"`
		} `json:"error"`
	}
	_, text, _ := strings.Cut(err.Error(), "{")
	text, _, _ = strings.Cut("{"+text, "\n---")
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return body.Error.Inner.Code
}

func TestVaultErrors(t *testing.T) {
	secret := cloud.Place{Vault: "shop", Kind: cloud.Secrets, Name: "db"}
	change := func(f func(*cloud.Vault)) func(*testing.T, *ground) {
		return func(t *testing.T, g *ground) {
			if err := g.Change(func(s *cloud.State) error { f(&s.Vaults[0]); f(&s.Vaults[1]); return nil }); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, c := range map[string]struct {
		vault, name, version, code, inner string
		status                            int
		prepare                           func(*testing.T, *ground)
	}{
		"missing":         {name: "nothing", code: "SecretNotFound", status: 404},
		"missing version": {version: strings.Repeat("0", 32), code: "SecretNotFound", status: 404},
		"bad version":     {version: "latest", code: "BadParameter", status: 400},
		"deleted": {code: "SecretNotFound", status: 404, prepare: func(t *testing.T, g *ground) {
			if err := g.Delete(secret); err != nil {
				t.Fatal(err)
			}
		}},
		"disabled": {code: "Forbidden", inner: "SecretDisabled", status: 403, prepare: func(t *testing.T, g *ground) {
			if err := g.SetEnabled(secret, "", false); err != nil {
				t.Fatal(err)
			}
		}},
		"no policy": {code: "Forbidden", inner: "ForbiddenByPolicy", status: 403, prepare: change(func(v *cloud.Vault) { v.Access = nil })},
		"list alone": {code: "Forbidden", inner: "ForbiddenByPolicy", status: 403, prepare: change(func(v *cloud.Vault) {
			v.Access = map[string]cloud.Access{principal: {cloud.Secrets: {"list"}, cloud.Keys: {"get"}}}
		})},
		"no role":  {vault: "roles", code: "Forbidden", inner: "ForbiddenByRbac", status: 403, prepare: change(func(v *cloud.Vault) { v.Access = nil })},
		"firewall": {code: "Forbidden", inner: "ForbiddenByFirewall", status: 403, prepare: change(func(v *cloud.Vault) { v.Firewall = true })},
		"conflict": {code: "Conflict", inner: "ObjectIsBeingRecovered", status: 409, prepare: func(_ *testing.T, g *ground) {
			g.AddFault(cloud.Fault{Where: "vault", Skip: 1, Status: 409, Code: "Conflict", Inner: "ObjectIsBeingRecovered", Message: "Wait."})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t)
			if c.vault == "" {
				c.vault = "shop"
			}
			if c.name == "" {
				c.name = "db"
			}
			g.put(t, c.vault, "hunter2")
			if c.prepare != nil {
				c.prepare(t, g)
			}
			_, err := g.secrets(t, c.vault, g.principal(t)).GetSecret(t.Context(), c.name, c.version, nil)
			got := refused(t, err)
			if got.StatusCode != c.status || got.ErrorCode != c.code || inner(t, err) != c.inner {
				t.Errorf("got %d %s/%s, want %d %s/%s", got.StatusCode, got.ErrorCode, inner(t, err), c.status, c.code, c.inner)
			}
			if read := g.Counters().Count(cloud.Read{Vault: c.vault, Client: principal, Status: c.status}); read != 1 {
				t.Errorf("counted %d such reads of the principal, want one", read)
			}
		})
	}
}

// A vault takes tokens of its own tenant only.
func TestForeignTenant(t *testing.T) {
	g := start(t)
	g.put(t, "stack", "hunter2")
	_, err := g.secrets(t, "stack", g.principal(t)).GetSecret(t.Context(), "db", "", nil)
	if got := refused(t, err); got.StatusCode != http.StatusUnauthorized || !strings.Contains(err.Error(), "AKV10032") {
		t.Errorf("got %v, want 401 for the issuer", err)
	}
}

func TestRogueChallenge(t *testing.T) {
	g := start(t)
	err := g.Change(func(s *cloud.State) error {
		s.Vaults[0].Challenge = `Bearer authorization="https://login.azure.test/x", resource="https://rogue.test"`
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = g.secrets(t, "shop", g.principal(t)).GetSecret(t.Context(), "db", "", nil)
	if err == nil || !strings.Contains(err.Error(), "doesn't match the requested domain") {
		t.Errorf("got %v, want that the resource is refused", err)
	}
	if tokens := g.Counters().Tokens; len(tokens) != 0 {
		t.Errorf("tokens were given for a rogue resource: %v", tokens)
	}
}

func TestKeys(t *testing.T) {
	g := start(t)
	for _, c := range []struct {
		kind, kty string
		hsm       bool
	}{{"rsa-2048", "RSA", false}, {"rsa-2048", "RSA-HSM", true}, {"ec-p256", "EC", false}, {"ec-p384", "EC", false}, {"ec-p521", "EC-HSM", true}} {
		t.Run(c.kind, func(t *testing.T) {
			id, err := g.Make(t.Context(), cloud.Place{Vault: "shop", Kind: cloud.Keys, Name: "k"},
				cloud.Recipe{Template: material.Template{Key: c.kind}, HSM: c.hsm})
			if err != nil {
				t.Fatal(err)
			}
			got, err := g.keys(t, "shop").GetKey(t.Context(), "k", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			if string(*got.Key.Kty) != c.kty || got.Key.KID.Version() != id {
				t.Errorf("got a key of type %s and version %s, want %s and %s", *got.Key.Kty, got.Key.KID.Version(), c.kty, id)
			}
			if strings.HasPrefix(c.kty, "RSA") && new(big.Int).SetBytes(got.Key.N).BitLen() != 2048 {
				t.Error("the modulus does not have 2048 bits")
			}
			if strings.HasPrefix(c.kty, "EC") && (len(got.Key.X) != len(got.Key.Y) || len(got.Key.X) < 32) {
				t.Error("the coordinates are not whole")
			}
		})
	}
}

func (g *ground) make(t *testing.T, recipe cloud.Recipe) string {
	t.Helper()
	id, err := g.Make(t.Context(), cloud.Place{Vault: "shop", Kind: cloud.Certificates, Name: "tls"}, recipe)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestCertificate(t *testing.T) {
	g := start(t)
	id := g.make(t, cloud.Recipe{Template: material.Template{Name: "shop.test", Key: "ec-p256"}})
	got, err := g.certificates(t, "shop").GetCertificate(t.Context(), "tls", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(got.CER)
	if err != nil {
		t.Fatal(err)
	}
	if leaf.Subject.CommonName != "shop.test" || got.ID.Version() != id || got.SID.Version() != id {
		t.Errorf("got %s of version %s and secret %s, want shop.test of %s", leaf.Subject, got.ID.Version(), got.SID.Version(), id)
	}
	page, err := g.certificates(t, "shop").NewListCertificatePropertiesVersionsPager("tls", nil).NextPage(t.Context())
	if err != nil || len(page.Value) != 1 || !bytes.Equal(page.Value[0].X509Thumbprint, got.X509Thumbprint) {
		t.Errorf("the list has %d versions (%v), want one with the same thumbprint", len(page.Value), err)
	}
}

func TestSecretOfCertificate(t *testing.T) {
	g := start(t)
	id := g.make(t, cloud.Recipe{Template: material.Template{Name: "shop.test", Key: "ec-p256", Intermediates: 1}, Type: cloud.PEM})
	secret, err := g.secrets(t, "shop", g.principal(t)).GetSecret(t.Context(), "tls", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if secret.KID == nil || secret.KID.Version() != id || *secret.ContentType != cloud.PEM || !*secret.Managed {
		t.Errorf("the secret %+v does not look like one of a certificate", secret.Attributes)
	}
	if strings.Count(*secret.Value, "BEGIN CERTIFICATE") != 3 || !strings.HasPrefix(*secret.Value, "-----BEGIN PRIVATE KEY") {
		t.Error("the secret is not a key and three certificates")
	}
}

// Replies as no vault gives them, for clients that must not fall over.
func TestOddReplies(t *testing.T) {
	g := start(t)
	at := cloud.Place{Vault: "shop", Kind: cloud.Secrets, Name: "odd"}
	if _, err := g.Put(at, cloud.Version{Content: map[string]any{"value": nil, "id": nil, "attributes": nil}}); err != nil {
		t.Fatal(err)
	}
	got, err := g.secrets(t, "shop", g.principal(t)).GetSecret(t.Context(), "odd", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Value != nil || got.ID != nil || got.Attributes != nil {
		t.Errorf("got %+v, want nothing at all", got)
	}
	g.AddFault(cloud.Fault{Where: "vault", Skip: 1, Body: `{"value": [`})
	if _, err := g.secrets(t, "shop", g.principal(t)).GetSecret(t.Context(), "odd", "", nil); err == nil {
		t.Error("half a reply was taken for one")
	}
}

func TestPFXSecret(t *testing.T) {
	g := start(t)
	recipe := cloud.Recipe{Template: material.Template{Name: "shop.test"}, Encryption: material.AES, OpenSSL: true}
	g.make(t, recipe)
	secret, err := g.secrets(t, "shop", g.principal(t)).GetSecret(t.Context(), "tls", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := base64.StdEncoding.DecodeString(*secret.Value); err != nil || *secret.ContentType != cloud.PFX {
		t.Errorf("the secret of type %s is not base64: %v", *secret.ContentType, err)
	}
}
