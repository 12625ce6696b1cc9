package azure

import (
	"bytes"
	"crypto/rand"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/strongroom/strongroom/internal/azureclass"
)

// authority answers a login: first where to log in, then the token.
type authority struct {
	discovery, token []byte
	status           int
}

// Do implements [policy.Transporter].
func (a *authority) Do(req *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	body := a.token
	if strings.HasSuffix(req.URL.Path, "/.well-known/openid-configuration") {
		body = a.discovery
	} else {
		w.Code = a.status
	}
	resp := w.Result()
	resp.Request, resp.Body = req, io.NopCloser(bytes.NewReader(body))
	return resp, nil
}

// FuzzLogin: whatever the authority or the metadata endpoint answers, there is a token,
// or an error of one line without what is secret.
func FuzzLogin(f *testing.F) {
	const host = "https://login.test/" + tenant
	discovery := `{"issuer":"` + host + `/v2.0","authorization_endpoint":"` + host + `/authorize","token_endpoint":"` + host + `/token"}`
	for _, token := range []string{
		`{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":"T0KEN.T0KEN"}`,
		`{"token_type":"Bearer","expires_in":"3599","expires_on":"1767225600","resource":"https://vault.azure.net","access_token":"T0KEN.T0KEN"}`,
		`{"access_token":"T0KEN.T0KEN"}`, `{"access_token":7,"expires_in":"x"}`, `{"access_token":"","expires_in":-1}`, `{"expires_in":1e300}`,
		`{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","error_codes":[7000215],"claims":"{}"}`,
		`{"error":{"code":"x"}}`, `{"error":"invalid_request","error_description":"Identity not found"}`, ``, `null`, `[]`, `T0KEN.T0KEN`, `<html>`,
	} {
		for _, status := range []uint16{200, 400, 401, 404} {
			f.Add(true, status, []byte(discovery), []byte(token))
			f.Add(false, status, []byte(discovery), []byte(token))
		}
		f.Add(true, uint16(200), []byte(token), []byte(token))
	}
	p, err := New(Config{
		Flags: Flags{Cloud: "AzurePublicCloud", APIVersion: "7.4"}, Getenv: func(string) string { return "" }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, principal bool, status uint16, discovery, token []byte) {
		if status < 200 || status > 599 {
			t.Skip("no status")
		}
		options := p.options()
		options.Transport = &authority{discovery: discovery, token: token, status: int(status)}
		options.Retry = policy.RetryOptions{MaxRetries: -1}
		who := &caller{clientSecret: password, identity: identity{
			mode: azureclass.VMIdentity, tenant: tenant, clientID: assigned, cloud: environment{authority: "https://login.test/", custom: true},
		}}
		if principal {
			who.mode = azureclass.ServicePrincipal
		}
		c, err := newCredential(who, options, p.meter)
		if err != nil {
			t.Fatal(err)
		}
		// The SDK remembers the tokens of the metadata endpoint for the whole process.
		scope := "https://vault-" + rand.Text() + ".test/.default"
		got, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{scope}})
		switch {
		case err != nil:
			checkLoginFailure(t, explained(err), status)
		case got.Token == "":
			t.Error("a token without text")
		}
	})
}

func checkLoginFailure(t *testing.T, err error, status uint16) {
	t.Helper()
	text := err.Error()
	if len(text) > maxErrorText+300 || strings.ContainsFunc(text, unicode.IsControl) {
		t.Errorf("%d: %q", status, text)
	}
	if strings.Contains(text, password) || status == http.StatusOK && strings.Contains(text, "T0KEN") {
		t.Errorf("%d: the error tells what is secret: %q", status, text)
	}
}
