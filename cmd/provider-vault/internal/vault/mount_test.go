package vault

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/provider"
)

func TestMountFiles(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("GET /v1/secret/data/app", answer{body: kv2(map[string]any{"password": "s3cr3t", "key": "czNjcjN0"})})
	f.on("GET /v1/kv/app?version=2", answer{body: `{"request_id":"r2","lease_duration":2764800,"data":{"user":"bob"}}`})
	f.on("PUT /v1/pki/issue/web", answer{body: `{"data":{"certificate":"PEM"}}`})
	r := newRig(t, f)
	resp, err := r.mount(t, `
- {objectName: db/password, secretPath: secret/data/app, secretKey: password}
- {objectName: decoded, secretPath: /v1/secret/data//app, secretKey: key, encoding: BASE64, filePermission: 0400}
- {objectName: user, secretPath: "kv/app?version=2", secretKey: user}
- {objectName: cert, secretPath: pki/issue/web, method: PUT, secretArgs: {common_name: a.test}}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []provider.File{
		{Path: "db/password", Mode: 0o644, Contents: []byte("s3cr3t")},
		{Path: "decoded", Mode: 0o400, Contents: []byte("s3cr3t")},
		{Path: "user", Mode: 0o644, Contents: []byte("bob")},
		{Path: "cert", Mode: 0o644, Contents: []byte(
			`{"request_id":"","lease_id":"","lease_duration":0,"renewable":false,"data":{"certificate":"PEM"},"warnings":null}`)},
	}
	if diff := cmp.Diff(want, resp.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for i, v := range resp.Versions {
		if v.ID != want[i].Path || len(v.Version) != 44 {
			t.Errorf("version %d is %+v", i, v)
		}
	}
	wantCalls := []string{
		"GET /v1/kv/app?version=2", "GET /v1/secret/data/app", "POST /v1/auth/kubernetes/login", "PUT /v1/pki/issue/web",
	}
	if diff := cmp.Diff(wantCalls, slices.Sorted(slices.Values(f.requests()))); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if i := slices.Index(f.requests(), "PUT /v1/pki/issue/web"); i < 0 || f.call(i).Body != `{"common_name":"a.test"}` {
		t.Errorf("body of the PUT is not its secretArgs: request %d", i)
	}
}

func TestMountHeaders(t *testing.T) {
	f := newFakeVault(t)
	f.on("GET /v1/a", answer{body: `{"data":{"k":"v"}}`})
	t.Setenv("VAULT_TOKEN", "hvs.of-the-environment")
	t.Setenv("VAULT_NAMESPACE", "of-the-environment")
	t.Setenv("VAULT_WRAP_TTL", "")
	env := map[string]string{"VAULT_TOKEN": "x", "VAULT_NAMESPACE": "env-ns"}
	r := newRig(t, f, func(c *Config) { c.Getenv = func(k string) string { return env[k] } })
	for _, ns := range []string{"", "class-ns"} {
		if _, err := r.mount(t, "- {objectName: a, secretPath: a}", "vaultNamespace", ns); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []struct{ token, ns string }{{"", "env-ns"}, {clientToken, "env-ns"}, {"", "class-ns"}, {clientToken, "class-ns"}} {
		h := f.call(i).Header
		got := []string{h.Get("X-Vault-Token"), h.Get("X-Vault-Namespace"), h.Get("X-Vault-Request")}
		if diff := cmp.Diff([]string{want.token, want.ns, "true"}, got); diff != "" {
			t.Errorf("headers of call %d (-want +got):\n%s", i, diff)
		}
	}
	if got := f.call(0).Body; got != `{"jwt":"`+podJWT+`","role":"app"}` {
		t.Errorf("login body %s", got)
	}
	if !strings.Contains(r.log.String(), "VAULT_TOKEN is ignored") {
		t.Errorf("log does not mention VAULT_TOKEN: %s", r.log)
	}
}

func TestMountAudience(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("GET /v1/a", answer{body: `{"data":{"k":"v"}}`})
	r := newRig(t, f)
	for name, tt := range map[string]struct {
		audience string
		tokens   provider.Tokens
		texts    []string // none for success
	}{
		"default":         {"", provider.Tokens{"vault": {Value: provider.Secret(podJWT)}}, nil},
		"own":             {"eu", provider.Tokens{"eu": {Value: provider.Secret(podJWT)}, "vault": {Value: "x"}}, nil},
		"none":            {"", nil, []string{`audience "vault"`, "none", "spec.tokenRequests of the CSIDriver"}},
		"another":         {"eu", provider.Tokens{"vault": {Value: provider.Secret(podJWT)}}, []string{`audience "eu"`, `["vault"]`}},
		"cluster default": {"", provider.Tokens{"": {Value: provider.Secret(podJWT)}}, []string{`audience "vault"`}},
		"empty":           {"", provider.Tokens{"vault": {}}, []string{`audience "vault"`}},
	} {
		t.Run(name, func(t *testing.T) {
			req := newRequest("- {objectName: a, secretPath: a}", "audience", tt.audience)
			req.Tokens = tt.tokens
			_, err := r.Mount(t.Context(), req)
			if tt.texts == nil && err != nil {
				t.Fatal(err)
			}
			if tt.texts != nil {
				checkFailure(t, err, provider.Invalid, tt.texts...)
			}
		})
	}
}

func TestMountExpiredToken(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	req := newRequest("- {objectName: a, secretPath: a}")
	req.Tokens["vault"] = provider.Token{Value: provider.Secret(podJWT), Expires: time.Now().Add(-time.Second)}
	_, err := newRig(t, f).Mount(t.Context(), req)
	checkFailure(t, err, provider.Denied, "expired at")
	if calls := f.requests(); len(calls) != 0 {
		t.Errorf("an expired token made calls: %v", calls)
	}
}

func TestMountOtherAuthMount(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("POST /v1/auth/team/jwt/login", answer{body: loginReply})
	f.on("GET /v1/a", answer{body: `{"data":{"k":"v"}}`})
	if _, err := newRig(t, f).mount(t, "- {objectName: a, secretPath: a}", "vaultAuthMountPath", "team/jwt/"); err != nil {
		t.Error(err)
	}
}

func TestMountBadClass(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	_, err := newRig(t, f).mount(t, "- {objectName: a, secretPath: a, secretkey: k}")
	checkFailure(t, err, provider.Invalid, `object "a" (line 1)`, "did you mean secretKey?")
	if calls := f.requests(); len(calls) != 0 {
		t.Errorf("a bad class made calls: %v", calls)
	}
}

func TestMountLogsWarningsOnce(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("GET /v1/a", answer{body: `{"data":{"k":"v"},"warnings":["old\npath"]}`})
	r := newRig(t, f)
	for range 3 {
		if _, err := r.mount(t, "- {objectName: a, secretPath: a, comment: c}"); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"unknown field", "old path"} {
		if n := strings.Count(r.log.String(), text); n != 1 {
			t.Errorf("%q is logged %d times: %s", text, n, r.log)
		}
	}
}

func TestMountFailsWhole(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("GET /v1/a", answer{body: `{"data":{"k":"s3cr3t"}}`})
	resp, err := newRig(t, f).mount(t, "- {objectName: a, secretPath: a}\n- {objectName: b, secretPath: b}")
	checkFailure(t, err, provider.NotFound, `object "b"`, "/v1/b", `role "app"`, "Code: 404", "data/")
	if resp != nil {
		t.Errorf("a response beside an error: %v", resp)
	}
}

func TestMountTooLarge(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("GET /v1/big", answer{body: `{"data":{"k":"` + strings.Repeat("x", maxReply) + `"}}`})
	f.on("GET /v1/error", answer{status: http.StatusForbidden, body: strings.Repeat("x", maxReply+1)})
	f.on("GET /v1/fit", answer{body: `{"data":{"k":"` + strings.Repeat("x", 4<<20) + `"}}`})
	r := newRig(t, f)
	_, err := r.mount(t, "- {objectName: a, secretPath: big}")
	checkFailure(t, err, provider.TooLarge, `object "a"`, "exceeds")
	_, err = r.mount(t, "- {objectName: a, secretPath: error}")
	checkFailure(t, err, provider.TooLarge)
	var objects strings.Builder
	for i := range 4 {
		fmt.Fprintf(&objects, "- {objectName: a%d, secretPath: fit, secretKey: k}\n", i)
	}
	if _, err = r.mount(t, objects.String()); err != nil {
		t.Errorf("16 MiB in four files of one secret: %v", err)
	}
	_, err = r.mount(t, objects.String()+"- {objectName: b, secretPath: fit, secretKey: k}")
	checkFailure(t, err, provider.TooLarge, `object "b"`)
}

func TestMountConcurrently(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("GET /v1/a", answer{body: `{"data":{"k":"s3cr3t"}}`})
	r := newRig(t, f)
	errs := make(chan error)
	const n = 50
	for range n {
		go func() {
			_, err := r.Mount(t.Context(), newRequest("- {objectName: a, secretPath: a, secretKey: k, x: y}"))
			errs <- err
		}()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if n := len(r.transports.byID); n != 1 {
		t.Errorf("%d transports for one way to connect", n)
	}
}
