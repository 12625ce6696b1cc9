package azure

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"

	"github.com/strongroom/strongroom/internal/azureclass"
)

const fuzzedHost = "shop.vault.azure.net"

// answers gives one answer to whoever has a token, and then empty pages.
type answers struct {
	status    int
	challenge string
	body      []byte
	given     int
	strangers []string // hosts that a token was sent to
}

// Do implements [policy.Transporter].
func (a *answers) Do(req *http.Request) (*http.Response, error) {
	resp := &http.Response{
		StatusCode: http.StatusUnauthorized, Header: http.Header{}, Body: http.NoBody, Request: req,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}
	if req.URL.Host != fuzzedHost {
		a.strangers = append(a.strangers, req.URL.Host)
	}
	if req.Header.Get("Authorization") == "" {
		resp.Header.Set("WWW-Authenticate", a.challenge)
		return resp, nil
	}
	body := []byte(`{"value":[]}`)
	if resp.StatusCode = http.StatusOK; a.given == 0 {
		resp.StatusCode, body = a.status, a.body
		resp.Header.Set("Retry-After", "1")
	}
	if a.given++; a.given > 100 {
		return nil, &loginFailure{errors.New("there is no end")}
	}
	resp.Status = http.StatusText(resp.StatusCode)
	resp.Body, resp.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return resp, nil
}

// anyone has a token for every scope.
type anyone struct{}

func (anyone) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "t0ken", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

const goodChallenge = `Bearer authorization="https://login.microsoftonline.com/` + tenant + `", resource="https://vault.azure.net"`

// seedReplies are what Key Vault answers, and what it should not.
func seedReplies(f *testing.F) {
	f.Helper()
	const id = `"https://shop.vault.azure.net/secrets/db/6a385b124def4a6c80ef54f5b27f8aa3"`
	for _, body := range []string{
		`{"value":"v1","id":` + id + `,"attributes":{"enabled":true,"created":1493938410,"updated":1493938410,"recoveryLevel":"Recoverable+Purgeable"}}`,
		`{"value":"TUlJQg==","contentType":"application/x-pkcs12","kid":` + id + `,"id":` + id + `,"managed":true,"tags":{"a":"b"}}`,
		`{"value":"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n","contentType":"application/x-pem-file","kid":` + id + `,"id":` + id + `}`,
		`{"value":"v1","kid":` + id + `,"id":` + id + `}`, `{"value":null,"id":null}`, `{"value":["s3cret"],"id":7}`, `{"value":1234567890123456789}`,
		`{"key":{"kid":` + id + `,"kty":"RSA","key_ops":["sign"],"n":"2HJAE5fU3Cw2Rt9hEuq-F6XjINKGa-zskfISVqopqUy60GOs2eyhxbWbJBeUXNor_gf-tXtNeuqeBgitLeVa640UDvnEjYTKWjCniTxZRaU7ewY8BfTSk-7KxoDdLsPSpX_MX4rwlAx-_1UGk5t4sQgTbm9T6Fm2oqFd37dsz5-Gj27UP2GTAShfJPFD7MqU_zIgOI0pfqsbNL5xTQVM29K6rX4jSPtylZV3uWJtkoQIQnrIHhk1d0SC0KwlBV3V7R_LVYjiXLyIXsFzSNYgQ68ZjAwt8iL7I8Osa-ehQLM13DVvLASaf7Jnu3sC3CWl3Gyirgded6cfMmswJzY87w","e":"AQAB"}}`,
		`{"key":{"kid":` + id + `,"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}}`,
		`{"key":{"kid":` + id + `,"kty":"oct-HSM"}}`, `{"key":{"kid":` + id + `,"kty":null,"crv":null}}`, `{"key":null}`, `{"key":{"n":"!!!!"}}`,
		`{"id":` + id + `,"cer":"MIIB","x5t":"fLi3U52HunIVNXubkEnf8tP6Wbo","policy":{"key_props":{}}}`, `{"id":` + id + `,"cer":null}`, `{"id":` + id + `,"cer":"s3cret!"}`,
		`{"value":[{"id":` + id + `,"kid":` + id + `,"attributes":{"enabled":true,"created":1493938410}},null,{},{"attributes":{}}],"nextLink":"https://shop.vault.azure.net/x"}`,
		`{"value":[],"nextLink":"https://attacker.test/"}`, `{"value":[],"nextLink":"://"}`, `{"value":[{"attributes":{"enabled":"s3cret","created":1e300}}]}`,
		`{"error":{"code":"Forbidden","message":"Caller is not authorized","innererror":{"code":"ForbiddenByRbac"}}}`, `{"error":{"code":"","message":null}}`,
		`{"error":"invalid_client","error_description":"AADSTS7000215"}`, `{"error":[]}`, ``, `null`, `[]`, `"s3cret"`, `s3cret`, `{`, `<html>s3cret</html>`,
	} {
		for kind := range uint8(6) {
			f.Add(kind, uint16(200), goodChallenge, []byte(body))
		}
		for _, status := range []uint16{204, 302, 401, 403, 404, 429, 500} {
			f.Add(uint8(0), status, goodChallenge, []byte(body))
		}
	}
	for _, challenge := range []string{"", "Bearer", "Bearer authorization=", `Bearer authorization="x", resource="https://vault.azure.net"`, `Bearer authorization="https://login.microsoftonline.com/", resource=""`, `Bearer authorization="https://a/b", scope="s", resource="https://attacker.test"`, `Basic realm="s3cret"`} {
		f.Add(uint8(0), uint16(200), challenge, []byte(`{"value":"v1","id":"x"}`))
	}
}

// FuzzReplies: whatever a vault answers, there is no panic, nobody else gets the token,
// and there is a bundle that makes a file or an error of one line.
func FuzzReplies(f *testing.F) {
	seedReplies(f)
	p, err := New(Config{
		Flags: Flags{Cloud: "AzurePublicCloud", APIVersion: "7.4"}, Getenv: func(string) string { return "" }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	where, err := p.clouds.find("", "")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, kind uint8, status uint16, challenge string, body []byte) {
		if status < 200 || status > 599 {
			t.Skip("no status")
		}
		a := &answers{status: int(status), challenge: challenge, body: body}
		key := readKey{
			vault: "shop", kind: []string{azureclass.Secret, azureclass.Key, azureclass.Cert}[kind%3], name: "db", list: kind%2 == 1,
		}
		if isRetried(a.status) { // by the SDK, after a while
			resp, _ := a.Do(&http.Request{URL: fuzzedURL(t), Header: http.Header{"Authorization": {"t0ken"}}})
			defer resp.Body.Close() //nolint:errcheck // it is in memory
			checkFailure(t, explained(runtime.NewResponseError(resp)), a, key.list)
			return
		}
		p.transport = a
		v, err := p.newVault("https://"+fuzzedHost+"/", &session{
			identity: identity{cloud: where}, credential: &credential{inner: anyone{}, kept: map[string]kept{}, meter: p.meter},
		})
		if err != nil {
			t.Fatal(err)
		}
		b, err := v.get(t.Context(), key)
		if len(a.strangers) > 0 {
			t.Errorf("a request was sent to %q", a.strangers)
		}
		if err != nil {
			checkFailure(t, err, a, key.list)
			return
		}
		checkRender(t, key, b)
	})
}

func isRetried(status int) bool {
	return slices.Contains([]int{
		http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	}, status)
}

func fuzzedURL(t *testing.T) *url.URL {
	t.Helper()
	u, err := url.Parse("https://" + fuzzedHost + "/secrets/db/")
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// checkFailure: one line, not long, without a token; and what a reply of success said
// is in no error, as it may be a value.
func checkFailure(t *testing.T, err error, a *answers, list bool) {
	t.Helper()
	text := err.Error()
	if len(text) > maxErrorText+300 || strings.ContainsFunc(text, unicode.IsControl) || strings.Contains(text, "t0ken") || !utf8.ValidString(text) {
		t.Errorf("%d: %q", a.status, text)
	}
	if strings.Contains(text, "unmarshal") || strings.Contains(text, "there is no end") {
		t.Errorf("%q: %v", a.body, err)
	}
	if !list && a.given > 0 && a.status == http.StatusOK && !slices.Contains([]string{errIncomplete.Error(), errNotUnderstood.Error()}, text) {
		t.Errorf("%d and %q: %v", a.status, a.body, err)
	}
}

// checkRender makes the files of what was read.
func checkRender(t *testing.T, key readKey, b *bundle) {
	t.Helper()
	if key.list {
		checkHistory(t, b)
		return
	}
	for _, on := range []bool{false, true} {
		r := &renderer{orderChain: on, orderPEM: on, separate: on}
		for _, encoding := range []string{azureclass.UTF8, azureclass.Base64, azureclass.Hex} {
			for _, format := range []string{azureclass.PEM, azureclass.PFX} {
				o := &azureclass.Object{Name: "db", File: "db", Type: key.kind, Format: format, Encoding: encoding}
				if files, err := r.render(o, o.File, b); err == nil && len(files) != 1 && len(files) != 3 || err != nil && len(err.Error()) > maxErrorText {
					t.Errorf("%d files, error %v", len(files), err)
				}
			}
		}
	}
}

func checkHistory(t *testing.T, b *bundle) {
	t.Helper()
	const most = 3
	if chosen, err := history(&azureclass.Object{Name: "db", History: most}, b.versions); err == nil && (len(chosen) == 0 || len(chosen) > most) {
		t.Errorf("%d versions", len(chosen))
	}
}
