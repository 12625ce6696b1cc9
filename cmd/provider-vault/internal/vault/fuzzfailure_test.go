package vault

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
)

// FuzzFailure has a server fail with anything, and send back the token that it got: the
// error is one short line without it.
func FuzzFailure(f *testing.F) {
	for _, seed := range []string{
		`{"errors":["permission denied"]}`, `{"errors":["1 error occurred:\n\t* invalid token hvs.s3cr3t\n\n"]}`, `{"errors":[],"warnings":["Invalid path","hvs.s3cr3t"]}`,
		`{"errors":null,"data":{"x":"hvs.s3cr3t"}}`, `hvs.s3cr3t`, `<html>hvs.s3cr3t`, `{"errors":["x` + strings.Repeat("é", 400) + `hvs.s3cr3t"]}`, ``, `[]`,
	} {
		for _, status := range []int{400, 403, 404, 429, 473, 503} {
			f.Add(status, "5", []byte(seed))
		}
	}
	f.Add(429, "Fri, 31 Dec 9999 23:59:59 GMT", []byte(`{}`))
	f.Add(503, "-9223372036854775808", []byte(`{}`))
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		f.Fatal(err)
	}
	c := &conn{client: client}
	f.Fuzz(func(t *testing.T, status int, wait string, body []byte) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://vault.test/v1/auth/jwt/login?jwt=hvs.s3cr3t", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer := func() *api.Response {
			return &api.Response{Response: &http.Response{
				StatusCode: status, Header: http.Header{"Retry-After": {wait}}, Body: io.NopCloser(bytes.NewReader(body)), Request: request,
			}}
		}
		failure := answer().Error()
		if failure == nil {
			return
		}
		for _, operation := range []operation{opLogin, opRead} {
			q := query{Read: vaultclass.Read{Method: "GET", Path: "/v1/secret/data/a"}, operation: operation, token: "hvs.s3cr3t"}
			checkTold(t, c.failure(q, failure, answer()))
		}
	})
}

func checkTold(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if strings.Contains(text, "s3cr3t") || len(text) > 4*maxErrorText || strings.ContainsFunc(text, unicode.IsControl) {
		t.Errorf("%d bytes: %q", len(text), text)
	}
	if e, ok := errors.AsType[*provider.Error](err); ok && (e.RetryAfter < 0 || e.RetryAfter > time.Hour) {
		t.Errorf("it is tried again in %v", e.RetryAfter)
	}
}
