package cloud_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
)

// command gives an order as a script would.
func command(t *testing.T, c *cloud.Cloud, line, body string) (status int, answer string) {
	t.Helper()
	method, path, _ := strings.Cut(line, " ")
	w := httptest.NewRecorder()
	c.ControlHandler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

func TestControl(t *testing.T) {
	c := azure(t)
	read := func() string {
		value, _ := get(t, c, "https://myvault.vault.azure.net/secrets/db/?api-version=7.4")["value"].(string)
		return value
	}
	for _, step := range []struct {
		line, body, reads string
	}{
		{"POST /vaults/myvault/secrets/db", `{"content": {"value": "one"}}`, "one"},
		{"POST /vaults/myvault/secrets/db", `{"content": {"value": "two"}}`, "two"},
		{"PATCH /vaults/myvault/secrets/db", `{"enabled": false}`, ""},
		{"PATCH /vaults/myvault/secrets/db", `{"enabled": true}`, "two"},
		{"PATCH /vaults/myvault", `{"firewall": true}`, ""},
		{"PATCH /vaults/myvault", `{"firewall": false}`, "two"},
		{"PATCH /vaults/myvault", `{"quota": {"requests": 0, "seconds": 60}}`, ""},
		{"PATCH /vaults/myvault", `{"quota": null}`, "two"},
		{"POST /faults", `{"where": "vault", "status": 503}`, ""},
		{"DELETE /faults", "", "two"},
		{"DELETE /vaults/myvault/secrets/db", "", ""},
		{"POST /vaults/myvault/certificates/db/make", `{"key": "ec-p256", "type": "application/x-pem-file"}`, "-----BEGIN PRIVATE KEY"},
		{"PUT /tenants/" + tenant + "/applications", `{"clientID": "new", "secrets": ["s"]}`, "-----BEGIN"},
		{"PUT /issuers", `[{"url": "https://cluster", "jwks": {"keys": []}}]`, "-----BEGIN"},
		{"DELETE /counters", "", "-----BEGIN"},
	} {
		if status, answer := command(t, c, step.line, step.body); status >= http.StatusBadRequest {
			t.Fatalf("%s: %d %s", step.line, status, answer)
		}
		if got := read(); !strings.HasPrefix(got, step.reads) || (step.reads == "") != (got == "") {
			t.Errorf("after %s the secret is %q, want %q", step.line, got, step.reads)
		}
	}
	for line, want := range map[string]string{
		"GET /counters": `"status":200,"count":1`, "GET /violations": `[]`, "GET /ca.pem": "BEGIN CERTIFICATE",
		"GET /stack.json": `"keyVaultDNSSuffix":"vault.azure.net"`, "GET /state": `"name":"myvault"`,
	} {
		if _, answer := command(t, c, line, ""); !strings.Contains(answer, want) {
			t.Errorf("%s answers %s, want %s", line, answer, want)
		}
	}
}

func TestControlRefuses(t *testing.T) {
	c := azure(t)
	for line, body := range map[string]string{
		"POST /vaults/nowhere/secrets/db":          `{"content": {}}`,
		"POST /vaults/myvault/things/db":           `{"content": {}}`,
		"POST /vaults/myvault/secrets/db":          `{"contents": {}}`,
		"POST /vaults/myvault/secrets/db/make":     `{}`,
		"POST /vaults/myvault/keys/db/make":        `{"key": "rsa-1"}`,
		"PATCH /vaults/myvault/secrets/db":         `{"enabled": true}`,
		"PATCH /vaults/myvault":                    `{"objects": null}`,
		"DELETE /vaults/myvault/keys/db":           "",
		"PUT /tenants/nobody/applications":         `{"clientID": "x"}`,
		"PUT /issuers":                             `[{"url": "https://cluster", "jwks": {"keys": [{"kty": "oct"}]}}]`,
		"PUT /state":                               `{"vaults": [{"objects": {"things": {}}}]}`,
		"POST /vaults/myvault/certificates/a/make": `{"key": "ec-p256", "order": [7]}`,
	} {
		if status, _ := command(t, c, line, body); status != http.StatusBadRequest {
			t.Errorf("%s %s: status %d, want 400", line, body, status)
		}
	}
}

// A state that was read can be put back.
func TestStateTwice(t *testing.T) {
	c := azure(t)
	if _, err := c.PutSecret("myvault", "db", "one"); err != nil {
		t.Fatal(err)
	}
	_, state := command(t, c, "GET /state", "")
	if status, answer := command(t, c, "PUT /state", state); status != http.StatusNoContent {
		t.Fatalf("%d %s", status, answer)
	}
	if _, again := command(t, c, "GET /state", ""); again != state {
		t.Errorf("got\n%s, want\n%s", again, state)
	}
}
