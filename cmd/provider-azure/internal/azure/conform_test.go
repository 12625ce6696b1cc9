package azure

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/internal/azuretest/material"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/providertest"
)

// canariesOf has everything put into the vault that must not be seen, and says what.
func (g *ground) canariesOf(t *testing.T) []string {
	t.Helper()
	g.put(t, "db", "s3cr3t-value-of-db")
	g.put(t, "user", "web-user-of-db")
	at := cloud.Place{Vault: "shop", Kind: cloud.Certificates, Name: "tls"}
	if _, err := g.Make(t.Context(), at, cloud.Recipe{Template: material.Template{Key: "ec-p256"}, Type: cloud.PFX}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.Put(cloud.Place{Vault: "shop", Kind: cloud.Secrets, Name: "off"}, cloud.Version{Disabled: true, Content: cloud.Secret("0ff-value", "")}); err != nil {
		t.Fatal(err)
	}
	if err := g.Change(func(s *cloud.State) error {
		s.Vaults = append(s.Vaults, cloud.Vault{Name: "null", Tenant: tenant}) // which an odd parameter names
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	state := g.State()
	tls, ok := state.Vaults[0].Objects[cloud.Secrets]["tls"].Versions[0].Content["value"].(string)
	if !ok {
		t.Fatal("the certificate has no secret")
	}
	return []string{"s3cr3t-value-of-db", "web-user-of-db", "0ff-value", password, tls[:60]}
}

func TestConform(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	canaries := g.canariesOf(t)
	var mu sync.Mutex
	while := func(faults ...cloud.Fault) func() func() {
		return func() func() {
			mu.Lock()
			for _, f := range faults {
				g.AddFault(f)
			}
			return func() {
				g.ClearFaults()
				mu.Unlock()
			}
		}
	}
	n := 0
	pod := func() provider.Pod {
		n++
		return podOf(fmt.Sprint("c", n))
	}
	// Not as a service principal: its client id would count as a secret, which it is not.
	one := func(items string) *provider.Request { return g.asWorkload(t, ask(pod(), "array: ["+items+"]")) }
	const db = `"{objectName: db, objectType: secret}"`
	providertest.Conform(t, providertest.Suite{
		Open: func(_ context.Context, log *slog.Logger) (provider.Provider, error) {
			p, err := New(Config{Flags: g.flags(), Getenv: func(string) string { return g.stack }, Log: log})
			if err == nil {
				p.transport = g.transport
			}
			return p, err
		},
		Good: map[string]*provider.Request{
			"a secret":      one(`"{objectName: db, objectType: secret, objectAlias: db/password, filePermission: '0400'}"`),
			"two secrets":   one(db + `, "{objectName: user, objectType: secret}"`),
			"a certificate": one(`"{objectName: tls, objectType: secret}", "{objectName: tls, objectType: key, objectAlias: k}", "{objectName: tls, objectType: cert, objectAlias: c}"`),
			"a history":     one(`"{objectName: db, objectType: secret, objectVersionHistory: 3}"`),
			"of the node":   ask(pod(), oneSecret, "useVMManagedIdentity", "true"),
		},
		Bad: map[string]*provider.Request{
			"no objects":     one(""),
			"a bad path":     one(`"{objectName: db, objectType: secret, objectAlias: ../a}"`),
			"a conflict":     one(db + `, "{objectName: db, objectType: secret, objectAlias: db/a}"`),
			"bad permission": one(`"{objectName: db, objectType: secret, filePermission: rw}"`),
			"no vault":       ask(pod(), oneSecret, "keyvaultName", "", "useVMManagedIdentity", "true"),
			"no hex":         one(`"{objectName: db, objectType: secret, objectEncoding: hex}"`),
			"no login":       ask(pod(), oneSecret),
		},
		Missing: map[string]*provider.Request{
			"secret":   one(db + `, "{objectName: none, objectType: secret}"`),
			"key":      one(db + `, "{objectName: none, objectType: key}"`),
			"history":  one(db + `, "{objectName: none, objectType: cert, objectVersionHistory: 2}"`),
			"version":  one(db + `, "{objectName: user, objectType: secret, objectVersion: 0123456789abcdef0123456789abcdef}"`),
			"disabled": one(db + `, "{objectName: off, objectType: secret}"`),
			"refused":  one(db + `, "{objectName: tls, objectType: secret}", "{objectName: off, objectType: secret}"`),
		},
		Canaries: canaries,
		// A status that the SDK does not try again.
		Break: while(cloud.Fault{Where: "vault", Status: 501}, cloud.Fault{Where: "authority", Status: 501}, cloud.Fault{Where: "metadata", Status: 501}),
		Hang:  while(cloud.Fault{Where: "vault", Hang: true}, cloud.Fault{Where: "authority", Hang: true}),
	})
}
