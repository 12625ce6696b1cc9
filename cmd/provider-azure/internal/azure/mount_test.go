package azure

import (
	"log/slog"
	"regexp"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/providertest"
)

const oneSecret = `array: ["{objectName: db, objectType: secret}"]`

func (g *ground) put(t *testing.T, name, value string) (version string) {
	t.Helper()
	version, err := g.PutSecret("shop", name, value)
	if err != nil {
		t.Fatal(err)
	}
	return version
}

func TestModes(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*ground, *provider.Request){
		"service principal":             func(g *ground, r *provider.Request) { g.asPrincipal(r) },
		"service principal of a domain": func(g *ground, r *provider.Request) { g.asPrincipal(r).Parameters["tenantID"] = domain },
		"workload identity":             func(g *ground, r *provider.Request) { g.asWorkload(t, r) },
		"node":                          func(_ *ground, r *provider.Request) { r.Parameters["useVMManagedIdentity"] = "true" },
		"node, user assigned": func(_ *ground, r *provider.Request) {
			r.Parameters["useVMManagedIdentity"], r.Parameters["userAssignedIdentityID"] = "true", assigned
		},
		"pod identity":          func(_ *ground, r *provider.Request) { r.Parameters["usePodIdentity"] = "true" },
		"AKS's own token proxy": func(g *ground, r *provider.Request) { g.asBound(t, r) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGround(t)
			version := g.put(t, "db", "v1")
			req := ask(podOf("u1"), oneSecret)
			change(g, req)
			resp, err := g.Mount(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			want := &provider.Response{
				Files:    []provider.File{{Path: "db", Mode: 0o644, Contents: []byte("v1")}},
				Versions: []provider.Version{{ID: "secret/db", Version: version}},
			}
			if diff := cmp.Diff(want, resp); diff != "" {
				t.Errorf("response (-want +got):\n%s", diff)
			}
		})
	}
}

// TestOneForMany: pods of one service account cost one token and one read.
func TestOneForMany(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.put(t, "db", "v1")
	var pods sync.WaitGroup
	for i := range 50 {
		req := g.asWorkload(t, ask(podOf(string(rune('a'+i%26))+string(rune('a'+i/26))), oneSecret))
		pods.Go(func() {
			if _, err := g.Mount(t.Context(), req); err != nil {
				t.Error(err)
			}
		})
	}
	pods.Wait()
	c := g.Counters()
	if n := c.Tokens[workload]; n != 1 {
		t.Errorf("%d tokens for one identity", n)
	}
	if n := c.Count(cloud.Read{Op: "get", Kind: cloud.Secrets, Name: "db"}); n != 1 {
		t.Errorf("%d reads of one secret: %+v", n, c.Reads)
	}
}

// TestWarnings: the log says once of each class what is hardly meant, also of what is in
// the vault.
func TestWarnings(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	var log providertest.Buffer
	g.log = slog.New(slog.NewTextHandler(&log, nil))
	g.render.orderPEM = true
	if _, err := g.Put(cloud.Place{Vault: "shop", Kind: cloud.Secrets, Name: "db"}, cloud.Version{
		ID: versionID(1), Managed: true, Content: cloud.Secret("v1", "application/x-pem-file"),
	}); err != nil {
		t.Fatal(err)
	}
	for _, class := range []string{"web", "api", "web", "api"} {
		req := g.asPrincipal(ask(podOf(class), oneSecret, "tenantid", tenant))
		req.Class = class
		g.must(t, req)
	}
	for _, class := range []string{"web", "api"} {
		for _, text := range []string{"unknown parameter", "secret/db is not PEM"} {
			line := regexp.MustCompile(`level=WARN msg=".*` + text + `.*" about=shop/` + class)
			if n := len(line.FindAllString(log.String(), -1)); n != 1 {
				t.Errorf("%d lines about %s of %s: %s", n, text, class, log.String())
			}
		}
	}
}
