package vault

import (
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
)

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

func as(pod provider.Pod, uid string) func(*provider.Request) {
	return func(req *provider.Request) {
		req.Pod = pod
		req.Tokens = provider.Tokens{"vault": {Value: provider.Secret(tokenFor(pod, uid))}}
	}
}

func both(changes ...func(*provider.Request)) func(*provider.Request) {
	return func(req *provider.Request) {
		for _, c := range changes {
			c(req)
		}
	}
}

func secretsOf(pairs ...string) func(*provider.Request) {
	return func(req *provider.Request) {
		req.Secrets = map[string]provider.Secret{}
		for i := 0; i+1 < len(pairs); i += 2 {
			req.Secrets[pairs[i]] = provider.Secret(pairs[i+1])
		}
	}
}

func personas(t *testing.T, m *model, other string) map[string]persona {
	t.Helper()
	cert, key := makePair(t)
	cert2, key2 := makePair(t)
	ca, err := os.ReadFile(m.ca)
	if err != nil {
		t.Fatal(err)
	}
	more := append(append([]byte{}, ca...), cert...)
	pair := []string{"vaultTLSClientCertPath", writeFile(t, "a.crt", cert), "vaultTLSClientKeyPath", writeFile(t, "a.key", key)}
	pair2 := []string{"vaultTLSClientCertPath", writeFile(t, "b.crt", cert2), "vaultTLSClientKeyPath", writeFile(t, "b.key", key2)}
	approle := with("authMethod", "approle")
	foreign := webPod
	foreign.Namespace = "bank"
	return map[string]persona{
		"first":             {func(*provider.Request) {}, ""},
		"namespace":         {as(foreign, accountUID), "namespace"},
		"service account":   {as(podOf("api", "u1"), accountUID), "account"},
		"account made anew": {as(webPod, "sa-2"), "accountUID"},
		"address":           {with("vaultAddress", other), "address"},
		"Vault namespace":   {with("vaultNamespace", "team"), "vaultNamespace"},
		"auth mount":        {with("vaultAuthMountPath", "kubernetes/b"), "mount"},
		"role":              {with("roleName", "admin"), "role"},
		"audience": {both(with("audience", "eu"), func(req *provider.Request) {
			req.Tokens = provider.Tokens{"eu": req.Tokens["vault"]}
		}), "audience"},
		"jwt":             {with("authMethod", "jwt"), "method mount pod"},
		"jwt, pod":        {both(as(podOf("web", "u9"), accountUID), with("authMethod", "jwt")), "method mount pod"},
		"approle":         {both(approle, secretsOf("role_id", "r", "secret_id", "good-1")), "method mount audience credential"},
		"approle, secret": {both(approle, secretsOf("role_id", "r", "secret_id", "good-2")), "method mount audience credential"},
		"approle, role":   {both(approle, secretsOf("role_id", "r2", "secret_id", "good-1")), "method mount audience credential"},
		"approle, alike":  {both(approle, secretsOf("role_id", "rg", "secret_id", "good-1")), "method mount audience credential"},
		"cert":            {both(with("authMethod", "cert"), secretsOf("tls.crt", string(cert), "tls.key", string(key))), "method mount audience credential transport"},
		"cert, another":   {both(with("authMethod", "cert"), secretsOf("tls.crt", string(cert2), "tls.key", string(key2))), "method mount audience credential transport"},
		"skip verify":     {with("vaultSkipTLSVerify", "true"), "transport"},
		"server name":     {with("vaultTLSServerName", "example.com"), "transport"},
		"CA":              {with("vaultCACertPath", writeFile(t, "more.pem", more)), "transport"},
		"CA directory":    {with("vaultCADirectory", strings.TrimSuffix(m.ca, "/ca.pem")), "transport"},
		"client pair":     {with(pair...), "transport"},
		"another pair":    {with(pair2...), "transport"},
	}
}

// impostors ask for what somebody else may have, and get nothing.
func impostors() map[string]func(*provider.Request) {
	token := func(text string) func(*provider.Request) {
		return func(req *provider.Request) { req.Tokens = provider.Tokens{"vault": {Value: provider.Secret(text)}} }
	}
	forged := strings.TrimSuffix(tokenFor(webPod, accountUID), ".sig") + ".forged"
	foreign := webPod
	foreign.Namespace = "bank"
	expired := "e." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"system:serviceaccount:shop:web","exp":1}`)) + ".sig"
	return map[string]func(*provider.Request){
		"expired": token(expired),
		"told to be expired": func(req *provider.Request) {
			req.Tokens["vault"] = provider.Token{Value: provider.Secret(podJWT), Expires: time.Unix(1, 0)}
		},
		"of another account":       token(tokenFor(podOf("api", "u1"), accountUID)),
		"of another namespace":     token(tokenFor(foreign, accountUID)),
		"of another pod":           token(tokenFor(podOf("web", "u7"), accountUID)),
		"no token of Kubernetes":   token("x"),
		"none":                     token(""),
		"as a pod of another":      func(req *provider.Request) { req.Pod = foreign },
		"with a wrong secret":      both(with("authMethod", "approle"), secretsOf("role_id", "r", "secret_id", "bad-1")),
		"without a secret":         with("authMethod", "approle"),
		"with no key":              both(with("authMethod", "cert"), secretsOf("tls.crt", "x")),
		"forged, jwt":              both(token(forged), with("authMethod", "jwt", "roleName", "other")),
		"forged, of another UID":   token(strings.TrimSuffix(tokenFor(webPod, "sa-forged"), ".sig") + ".forged"),
		"forged, for another role": both(token(forged), with("roleName", "nobody-was-let-in")),
	}
}

// TestIdentities: whatever decides who a caller is, nothing that was fetched for one
// reaches another. A read names the login that it was made with.
func TestIdentities(t *testing.T) {
	t.Parallel()
	m, other := newModel(t), newModel(t)
	m.methods["kubernetes/b"] = vaultclass.Kubernetes
	other.set(func() { other.serial = 1_000_000 })
	ca, _ := os.ReadFile(m.ca)
	ca2, _ := os.ReadFile(other.ca)
	bundle := writeFile(t, "ca.pem", append(ca, ca2...))
	r := rigOf(t, m, func(c *Config) { c.Flags.CACert = bundle })
	all := personas(t, m, other.url)
	checkFields(t, r, all)

	var mu sync.Mutex
	owner := map[string]string{} // of a login
	var group sync.WaitGroup
	for name, p := range all {
		for i := range 6 {
			group.Go(func() {
				req := newRequest(oneKV)
				req.Volume = provider.VolumeID(fmt.Sprint(name, i))
				p.change(req)
				resp, err := r.Mount(t.Context(), req)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				login := files(resp)["login"]
				mu.Lock()
				defer mu.Unlock()
				if before, ok := owner[login]; ok && before != name {
					t.Errorf("%s got what was read by %s", name, before)
				}
				owner[login] = name
			})
		}
	}
	for name, change := range impostors() {
		for range 3 {
			group.Go(func() {
				req := newRequest(oneKV)
				change(req)
				if resp, err := r.Mount(t.Context(), req); err == nil {
					t.Errorf("%s: got %d files", name, len(resp.Files))
				}
			})
		}
	}
	group.Wait()
	if len(owner) != len(all) {
		t.Errorf("%d logins for %d identities", len(owner), len(all))
	}
}

// checkFields demands that each field of identity is one that a persona changes, and
// nothing else is.
func checkFields(t *testing.T, r *rig, all map[string]persona) {
	t.Helper()
	admit := func(p persona) identity {
		req := newRequest(oneKV)
		p.change(req)
		class, err := vaultclass.Parse(req.Parameters)
		if err != nil {
			t.Fatal(err)
		}
		c, err := r.admit(t.Context(), req, class)
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
		var differ []string
		for i := range first.NumField() {
			if !first.Field(i).Equal(reflect.ValueOf(id).Field(i)) {
				differ = append(differ, first.Type().Field(i).Name)
				changed[first.Type().Field(i).Name] = true
			}
		}
		want := map[string]bool{}
		for f := range strings.FieldsSeq(p.fields) {
			want[f] = true
		}
		got := map[string]bool{}
		for _, f := range differ {
			got[f] = true
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: fields %v differ, want %q", name, differ, p.fields)
		}
	}
	for i := range first.NumField() {
		if name := first.Type().Field(i).Name; !changed[name] {
			t.Errorf("no persona changes the field %s", name)
		}
	}
}

// TestTLSFileContents: what a file holds is part of an identity, not only its name.
func TestTLSFileContents(t *testing.T) {
	t.Parallel()
	m := newModel(t)
	r := rigOf(t, m)
	cert, _ := makePair(t)
	before := r.must(t, newRequest(oneKV))["login"]
	ca, _ := os.ReadFile(m.ca)
	if err := os.WriteFile(m.ca, append(ca, cert...), 0o600); err != nil {
		t.Fatal(err)
	}
	if after := r.must(t, newRequest(oneKV))["login"]; after == before {
		t.Error("another CA file, and the session is the same")
	}
}
