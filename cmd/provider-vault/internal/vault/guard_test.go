package vault

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/provider"
)

// TestWarningsHideTokens: a server that repeats what it was sent does not have it
// logged or reported.
func TestWarningsHideTokens(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	warnings, err := json.Marshal([]string{"you sent " + podJWT + " and " + clientToken})
	if err != nil {
		t.Fatal(err)
	}
	f.on("GET /v1/a", answer{body: `{"data":{"k":"v"},"warnings":` + string(warnings) + `}`})
	f.on("GET /v1/none", answer{body: `{"request_id":"r","warnings":` + string(warnings) + `}`})
	r := newRig(t, f)
	if _, err := r.mount(t, "- {objectName: a, secretPath: a, secretKey: k}"); err != nil {
		t.Error(err)
	}
	if _, err := r.mount(t, "- {objectName: a, secretPath: none}"); err == nil || !strings.Contains(err.Error(), "you sent") {
		t.Errorf("the warning is lost: %v", err)
	}
}

// TestForbidSkipVerify: plain HTTP verifies nothing either, but for the operator's own.
func TestForbidSkipVerify(t *testing.T) {
	t.Parallel()
	plain := newFront(t, http.NotFoundHandler())
	f := newFakeVault(t)
	f.on("GET /v1/a", answer{body: `{"data":{"k":"v"}}`})
	own := newFront(t, f)
	forbid := func(c *Config) { c.Flags.ForbidSkipVerify = true }
	r := newRig(t, f, forbid)
	for _, params := range [][]string{{"vaultSkipTLSVerify", "true"}, {"vaultAddress", plain.URL}} {
		_, err := r.mount(t, "- {objectName: a, secretPath: a}", params...)
		checkFailure(t, err, provider.Invalid, "demands that certificates are verified")
	}
	if n := len(f.requests()); n != 0 {
		t.Errorf("%d requests", n)
	}
	if _, err := r.mount(t, "- {objectName: a, secretPath: a}", "vaultSkipTLSVerify", "false"); err != nil {
		t.Error(err)
	}
	r = newRig(t, f, forbid, func(c *Config) { c.Flags.Address = own.URL })
	if _, err := r.mount(t, "- {objectName: a, secretPath: a}", "vaultAddress", own.URL); err != nil {
		t.Errorf("the operator's own address: %v", err)
	}
}
