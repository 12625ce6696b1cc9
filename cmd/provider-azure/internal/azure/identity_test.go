package azure

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/provider"
)

// serial puts into each secret that passes which read it is of. Two that have the same
// number have the same reply.
type serial struct {
	inner http.RoundTripper

	mu sync.Mutex
	n  int
}

// RoundTrip implements [http.RoundTripper].
func (s *serial) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := s.inner.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.HasPrefix(r.URL.Path, "/secrets/") || strings.HasSuffix(r.URL.Path, "/versions") {
		return resp, err
	}
	var body map[string]any
	err = json.NewDecoder(resp.Body).Decode(&body)
	_ = resp.Body.Close() // it was read
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.n++
	body["value"] = fmt.Sprint("read ", s.n)
	s.mu.Unlock()
	text, err := json.Marshal(body)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
	resp.Header.Del("Content-Length")
	return resp, err
}

// persona is a caller that must have nothing in common with any other.
type persona struct {
	change func(*provider.Request)
	fields string // of identity, that differ from the first persona's
}

func with(params ...string) func(*provider.Request) {
	return func(req *provider.Request) {
		for i := 0; i+1 < len(params); i += 2 {
			req.Parameters[params[i]] = params[i+1]
		}
	}
}

func both(changes ...func(*provider.Request)) func(*provider.Request) {
	return func(req *provider.Request) {
		for _, c := range changes {
			c(req)
		}
	}
}

const (
	second      = "aaaaaaaa-0000-0000-0000-00000000000a"
	otherSecret = "an0ther~s3cret"
)

// people is a cloud with more identities, all of which may read the same secrets.
func people(t *testing.T, g *ground) {
	t.Helper()
	var federated []cloud.Federation
	for _, subject := range []string{"shop:web", "shop:api", "bank:web"} {
		federated = append(federated, cloud.Federation{Issuer: issuer, Subject: "system:serviceaccount:" + subject})
	}
	if err := g.Change(func(s *cloud.State) error {
		for i := range s.Tenants[0].Applications {
			app := &s.Tenants[0].Applications[i]
			if app.ClientID == workload {
				app.Federated = federated
			}
			app.Secrets = append(app.Secrets, password, otherSecret)
		}
		s.Tenants[0].Applications = append(s.Tenants[0].Applications, cloud.Application{
			ClientID: second, Secrets: []string{password, otherSecret}, Federated: federated,
		})
		s.Vaults[0].Access[second] = s.Vaults[0].Access[workload]
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// as has the pod and its token replaced.
func (g *ground) as(t *testing.T, pod provider.Pod, accountUID string) func(*provider.Request) {
	t.Helper()
	expires := time.Now().Add(time.Hour)
	text, err := cloud.Sign(g.cluster, "cluster", map[string]any{
		"iss": issuer, "sub": "system:serviceaccount:" + pod.Namespace + ":" + pod.ServiceAccount, "aud": []string{federatedAudience},
		"iat": time.Now().Unix(), "nbf": time.Now().Unix(), "exp": expires.Unix(),
		"kubernetes.io": map[string]any{"serviceaccount": map[string]string{"uid": accountUID}, "pod": map[string]string{"uid": pod.UID}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return func(req *provider.Request) {
		req.Pod, req.Tokens = pod, provider.Tokens{federatedAudience: {Value: provider.Secret(text), Expires: expires}}
	}
}

func servicePrincipal(id, secret string) func(*provider.Request) {
	return func(req *provider.Request) {
		delete(req.Parameters, "clientID")
		req.Secrets = map[string]provider.Secret{"clientid": provider.Secret(id), "clientsecret": provider.Secret(secret)}
	}
}

// otherStack is another file with another definition of the same cloud.
func (g *ground) otherStack(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(g.stack)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "other.json")
	if err = os.WriteFile(name, append(text, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func personas(t *testing.T, g *ground) map[string]persona {
	t.Helper()
	web := podOf("u1")
	foreign, api := web, web
	foreign.Namespace, api.ServiceAccount = "bank", "api"
	third := podOf("u2")
	bound := func(req *provider.Request) { g.asBound(t, req) }
	return map[string]persona{
		"first":              {func(*provider.Request) {}, ""},
		"namespace":          {g.as(t, foreign, "sa-1"), "namespace"},
		"service account":    {g.as(t, api, "sa-1"), "account"},
		"account made anew":  {g.as(t, web, "sa-2"), "accountUID"},
		"tenant":             {with("tenantID", domain), "tenant"},
		"client":             {with("clientID", second), "clientID"},
		"cloud":              {with("cloudEnvFileName", g.otherStack(t)), "cloud"},
		"principal":          {servicePrincipal(principal, password), "mode accountUID clientID secret"},
		"principal, secret":  {servicePrincipal(principal, otherSecret), "mode accountUID clientID secret"},
		"principal, another": {servicePrincipal(second, password), "mode accountUID clientID secret"},
		"principal, foreign": {both(servicePrincipal(principal, password), func(r *provider.Request) { r.Pod = foreign }), "namespace mode accountUID clientID secret"},
		"as the application": {servicePrincipal(workload, password), "mode accountUID secret"},
		"node":               {with("useVMManagedIdentity", "true"), "mode accountUID clientID"},
		"node, assigned":     {with("useVMManagedIdentity", "true", "userAssignedIdentityID", assigned), "mode accountUID clientID"},
		"node, foreign":      {both(with("useVMManagedIdentity", "true"), func(r *provider.Request) { r.Pod = foreign }), "namespace mode accountUID clientID"},
		"node, tenant":       {with("useVMManagedIdentity", "true", "tenantID", domain), "mode tenant accountUID clientID"},
		"pod":                {with("usePodIdentity", "true"), "mode accountUID clientID pod"},
		"pod, another":       {both(with("usePodIdentity", "true"), func(r *provider.Request) { r.Pod = third }), "mode accountUID clientID pod"},
		"bound":              {bound, "mode"},
	}
}

// impostors ask for what somebody else may have, and get nothing.
func impostors(t *testing.T, g *ground) map[string]func(*provider.Request) {
	t.Helper()
	web := podOf("u1")
	foreign, api := web, web
	foreign.Namespace, api.ServiceAccount = "bank", "api"
	only := func(change func(*provider.Request)) func(*provider.Request) { // the token, but not the pod
		return func(req *provider.Request) {
			pod := req.Pod
			change(req)
			req.Pod = pod
		}
	}
	token := func(text string) func(*provider.Request) {
		return func(req *provider.Request) {
			req.Tokens = provider.Tokens{federatedAudience: {Value: provider.Secret(text), Expires: time.Now().Add(time.Hour)}}
		}
	}
	unknown := web
	unknown.ServiceAccount = "stranger"
	return map[string]func(*provider.Request){
		"with the token of another account":   only(g.as(t, api, "sa-1")),
		"with the token of another namespace": only(g.as(t, foreign, "sa-1")),
		"with the token of another pod":       only(g.as(t, podOf("u7"), "sa-1")),
		"as a pod of another namespace":       func(req *provider.Request) { req.Pod = foreign },
		"told to be expired": func(req *provider.Request) {
			old := req.Tokens[federatedAudience]
			req.Tokens = provider.Tokens{federatedAudience: {Value: old.Value, Expires: time.Unix(1, 0)}}
		},
		"no token of Kubernetes":   token("x"),
		"none":                     func(req *provider.Request) { req.Tokens = nil },
		"for another audience":     func(req *provider.Request) { req.Tokens = provider.Tokens{"x": req.Tokens[federatedAudience]} },
		"that no one trusts":       g.as(t, unknown, "sa-1"),
		"with a wrong secret":      servicePrincipal(principal, "wrong"),
		"with another's secret":    servicePrincipal("aaaaaaaa-0000-0000-0000-0000000000ff", password),
		"without a secret":         with("clientID", ""),
		"without a client secret":  servicePrincipal(principal, ""),
		"of a tenant that is none": with("tenantID", "other.test"),
		"with a secret beside":     both(func(req *provider.Request) { req.Tokens = nil }, func(req *provider.Request) { g.asPrincipal(req) }),
	}
}

// crowd asks as all personas, and notes who got which read.
type crowd struct {
	*ground
	personas  map[string]persona
	impostors map[string]func(*provider.Request)
	objects   string
	volumes   string // what their names begin with

	mu    sync.Mutex
	owner map[string]string // of a read
}

func newCrowd(t *testing.T) *crowd {
	t.Helper()
	g := newBubble(t)
	people(t, g)
	version := g.put(t, "db", "v1")
	g.transport = bounded{&http.Client{Transport: &serial{inner: g.Transport}}}
	return &crowd{
		ground: g, personas: personas(t, g), impostors: impostors(t, g), owner: map[string]string{},
		objects: `array: ["{objectName: db, objectType: secret}", "{objectName: db, objectType: secret, objectAlias: pinned, objectVersion: ` + version +
			`}", "{objectName: db, objectType: secret, objectVersionHistory: 2, objectAlias: h}"]`,
	}
}

func (c *crowd) ask(t *testing.T, volume string, change func(*provider.Request)) (*provider.Response, error) {
	t.Helper()
	req := c.asWorkload(t, ask(podOf("u1"), c.objects, "staleIfError", "1h"))
	req.Volume = provider.VolumeID(c.volumes + volume)
	change(req)
	return c.Mount(t.Context(), req)
}

// round has each persona ask for so many volumes, at once, and the impostors too.
func (c *crowd) round(t *testing.T, volumes int, works bool) {
	t.Helper()
	var group sync.WaitGroup
	for name, p := range c.personas {
		for i := range volumes {
			group.Go(func() {
				resp, err := c.ask(t, fmt.Sprint(name, i), p.change)
				if (err == nil) != works {
					t.Errorf("%s: %v", name, err)
				}
				c.note(t, name, resp)
			})
		}
	}
	for name, change := range c.impostors {
		group.Go(func() {
			if resp, err := c.ask(t, name, change); err == nil {
				t.Errorf("%s: got %d files", name, len(resp.Files))
			}
		})
	}
	group.Wait()
}

func (c *crowd) note(t *testing.T, name string, resp *provider.Response) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range filesOf(resp) {
		if before, ok := c.owner[string(f.Contents)]; ok && before != name {
			t.Errorf("%s got what was read for %s", name, before)
		}
		c.owner[string(f.Contents)] = name
	}
}

// TestIdentities: whatever decides who a caller is, nothing that was read for one
// reaches another, at whatever time and in whatever way it is answered.
// (azure-contract 17.25)
func TestIdentities(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd(t)
		checkFields(t, c.ground, c.personas)
		c.round(t, 5, true)
		time.Sleep(5 * time.Second)
		c.round(t, 6, true) // refreshes, and new pods by what is kept
		time.Sleep(time.Minute)
		c.round(t, 6, true) // by what is remembered of a pinned version, too
		reads := len(c.owner)
		if reads < len(c.personas) {
			t.Errorf("%d reads for %d identities", reads, len(c.personas))
		}
		time.Sleep(time.Minute)
		c.AddFault(cloud.Fault{Where: "vault", Status: 503})
		c.volumes = "new"
		c.round(t, 2, true) // by what stands in for Key Vault's answer
		if len(c.owner) != reads {
			t.Errorf("%d reads, and %d before Key Vault was down", len(c.owner), reads)
		}
		c.ClearFaults()
		c.revoke(t)
		time.Sleep(11 * time.Second)
		c.round(t, 2, false) // nobody may read any more
		c.AddFault(cloud.Fault{Where: "vault", Status: 503})
		c.volumes = "newest"
		c.round(t, 2, false) // nor have what Key Vault said before that
	})
}

func filesOf(resp *provider.Response) []provider.File {
	if resp == nil {
		return nil
	}
	return resp.Files
}

// revoke takes all rights from everybody.
func (g *ground) revoke(t *testing.T) {
	t.Helper()
	if err := g.Change(func(s *cloud.State) error {
		clear(s.Vaults[0].Access)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// checkFields demands that each field of identity is one that a persona changes, and
// nothing else is.
func checkFields(t *testing.T, g *ground, all map[string]persona) {
	t.Helper()
	admit := func(p persona) identity {
		req := g.asWorkload(t, ask(podOf("u1"), oneSecret))
		p.change(req)
		class, err := azureclass.Parse(req.Parameters)
		if err != nil {
			t.Fatal(err)
		}
		c, err := g.admit(req, class)
		if err != nil {
			t.Fatal(err)
		}
		return c.identity
	}
	first := reflect.ValueOf(admit(all["first"]))
	changed := map[string]bool{}
	seen := map[identity]string{}
	for name, p := range all {
		id := admit(p)
		if before := seen[id]; before != "" {
			t.Errorf("%s and %s are one identity", name, before)
		}
		seen[id] = name
		got, want := map[string]bool{}, map[string]bool{}
		for i := range first.NumField() {
			if !first.Field(i).Equal(reflect.ValueOf(id).Field(i)) {
				field := first.Type().Field(i).Name
				got[field], changed[field] = true, true
			}
		}
		for field := range strings.FieldsSeq(p.fields) {
			want[field] = true
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: fields %v differ, want %q", name, got, p.fields)
		}
	}
	for i := range first.NumField() {
		if name := first.Type().Field(i).Name; !changed[name] {
			t.Errorf("no persona changes the field %s", name)
		}
	}
}

// TestCloudsDoNotMix: two classes name the same vault, tenant and client, in two clouds
// with files of their own, at once. (azure-contract 17.16)
func TestCloudsDoNotMix(t *testing.T) {
	t.Parallel()
	one, two := newGround(t), newGround(t)
	one.put(t, "db", "of one")
	two.put(t, "db", "of two")
	hosts := &crossroads{by: map[string]http.RoundTripper{one.host(t): one.Transport, two.host(t): two.Transport}}
	one.transport = bounded{&http.Client{Transport: hosts}}
	var group sync.WaitGroup
	for i := range 40 {
		stack, want := one.stack, "of one"
		if i%2 == 1 {
			stack, want = two.stack, "of two"
		}
		for name, change := range map[string]func(*provider.Request){
			"principal": func(r *provider.Request) { one.asPrincipal(r) },
			"default":   func(r *provider.Request) { one.asPrincipal(r); delete(r.Parameters, "cloudEnvFileName") },
		} {
			group.Go(func() {
				req := ask(podOf(fmt.Sprint(name, i)), oneSecret, "cloudName", "azurestackCLOUD", "cloudEnvFileName", stack)
				change(req)
				wanted := want
				if name == "default" {
					wanted = "of one"
				}
				resp, err := one.Mount(t.Context(), req)
				if err != nil || string(resp.Files[0].Contents) != wanted {
					t.Errorf("%s: %v, want %q", name, err, wanted)
				}
			})
		}
	}
	group.Wait()
	if a, b := one.Counters().Tokens[principal], two.Counters().Tokens[principal]; a != 1 || b != 1 { // the default is one's, too
		t.Errorf("%d and %d tokens", a, b)
	}
}

// host is where the vaults of a cloud are: their port.
func (g *ground) host(t *testing.T) string {
	t.Helper()
	return strings.TrimSuffix(g.VaultURL("shop")[strings.LastIndexByte(g.VaultURL("shop"), ':')+1:], "/")
}

// crossroads leads to several clouds, by their ports.
type crossroads struct{ by map[string]http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (c *crossroads) RoundTrip(r *http.Request) (*http.Response, error) {
	if next := c.by[r.URL.Port()]; next != nil {
		return next.RoundTrip(r)
	}
	return nil, fmt.Errorf("nobody may ask for %s", r.URL.Host)
}
