package vault

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/provider"
)

const objectA = "- {objectName: a, secretPath: a}"

func TestReadRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer answer
		kind   provider.Kind
		texts  []string
	}{
		"denied":       {answer{status: 403, body: `{"errors":["1 error occurred:\n\t* permission denied\n\n"]}`}, provider.Denied, []string{"Code: 403", "permission denied"}},
		"not found":    {answer{status: 404, body: `{"errors":[]}`}, provider.NotFound, []string{"Code: 404"}},
		"deleted":      {answer{status: 404, body: `{"data":{"data":null,"metadata":{"deletion_time":"x"}}}`}, provider.NotFound, []string{"deleted version"}},
		"KV 2 warning": {answer{status: 404, body: `{"data":null,"warnings":["Invalid path for a versioned K/V secrets engine."]}`}, provider.NotFound, []string{"Invalid path for a versioned"}},
		"bad request":  {answer{status: 400, body: `{"errors":["missing client token"]}`}, provider.Invalid, []string{"missing client token"}},
		"method":       {answer{status: 405, body: `{"errors":["unsupported operation"]}`}, provider.Invalid, []string{"unsupported operation"}},
		"throttled":    {answer{status: 429, body: `{"errors":["rate limit quota exceeded"]}`}, provider.Throttled, []string{"rate limit"}},
		"sealed":       {answer{status: 503, body: `{"errors":["Vault is sealed"]}`}, provider.Unavailable, []string{"Vault is sealed"}},
		"server error": {answer{status: 500, body: `{"errors":["internal error"]}`}, provider.Unavailable, []string{"internal error"}},
		"HTML":         {answer{status: 502, body: `<html>s3cr3t</html>`}, provider.Unavailable, []string{"not Vault's"}},
		"empty error":  {answer{status: 501}, provider.Unavailable, []string{"Code: 501"}},
		"standby":      {answer{status: 473}, provider.Unavailable, nil},
		"echo":         {answer{status: 400, body: `{"errors":["bad token ` + clientToken + ` and ` + podJWT + `"]}`}, provider.Invalid, []string{"[redacted]"}},
		"long":         {answer{status: 400, body: `{"errors":["` + strings.Repeat("é", 5000) + `"]}`}, provider.Invalid, []string{"..."}},
		"wrong types":  {answer{status: 403, body: `{"errors":{"a":1},"warnings":7}`}, provider.Denied, []string{"not Vault's"}},
		"not modified": {answer{status: 304}, provider.Unavailable, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeVault(t)
			f.on("GET /v1/a", tt.answer)
			_, err := newRig(t, f).mount(t, objectA)
			checkFailure(t, err, tt.kind, append(tt.texts, `object "a"`, "/v1/a", `role "app"`)...)
			if err != nil && len(err.Error()) > 1400 {
				t.Errorf("error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestLoginRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer answer
		kind   provider.Kind
		text   string
	}{
		"not authorized": {answer{status: 403, body: `{"errors":["service account name not authorized"]}`}, provider.Denied, "service account name not authorized"},
		"unknown role":   {answer{status: 400, body: `{"errors":["invalid role name \"app\""]}`}, provider.Denied, "invalid role name"},
		"no such mount":  {answer{status: 404, body: `{"errors":["no handler for route"]}`}, provider.NotFound, "no handler for route"},
		"throttled":      {answer{status: 429, body: `{"errors":[]}`}, provider.Throttled, "429"},
		"sealed":         {answer{status: 503, body: `{"errors":["Vault is sealed"]}`}, provider.Unavailable, "sealed"},
		"no auth":        {answer{body: `{"data":{"k":"v"}}`}, provider.Unavailable, "no auth block"},
		"no content":     {answer{status: 204}, provider.Unavailable, "no auth block"},
		"empty":          {answer{}, provider.Unavailable, "no auth block"},
		"null":           {answer{body: "null"}, provider.Unavailable, "no auth block"},
		"empty token":    {answer{body: `{"auth":{"client_token":""}}`}, provider.Unavailable, "no client token"},
		"MFA":            {answer{body: `{"auth":{"client_token":"","mfa_requirement":{"mfa_request_id":"x"}}}`}, provider.Denied, "second factor"},
		"token a number": {answer{body: `{"auth":{"client_token":7}}`}, provider.Unavailable, "shape"},
		"auth a list":    {answer{body: `{"auth":[]}`}, provider.Unavailable, "shape"},
		"garbage":        {answer{body: "hello s3cr3t"}, provider.Unavailable, "not JSON"},
		"strange token":  {answer{body: `{"auth":{"client_token":"hvs.\u0000\n"}}`}, provider.Unavailable, "non-printable"},
		"echo":           {answer{status: 400, body: `{"errors":["cannot parse ` + podJWT + `"]}`}, provider.Denied, "[redacted]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeVault(t)
			f.on("POST /v1/auth/kubernetes/login", tt.answer)
			_, err := newRig(t, f).mount(t, objectA)
			checkFailure(t, err, tt.kind, tt.text, `object "a"`, `role "app"`)
		})
	}
}

func TestHostileReplies(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		answer answer
		kind   provider.Kind
	}{
		"no content":       {answer{status: 204}, provider.NotFound},
		"empty body":       {answer{}, provider.NotFound},
		"null":             {answer{body: "null"}, provider.NotFound},
		"empty object":     {answer{body: "{}"}, provider.NotFound},
		"only errors":      {answer{body: `{"errors":["x"]}`}, provider.NotFound},
		"null data":        {answer{body: `{"data":null,"lease_id":"x","warnings":["careful"]}`}, provider.NotFound},
		"data is text":     {answer{body: `{"data":"s3cr3t"}`}, provider.Invalid},
		"data is a list":   {answer{body: `{"data":["s3cr3t"]}`}, provider.Invalid},
		"lease is text":    {answer{body: `{"lease_duration":"s3cr3t","data":{}}`}, provider.Invalid},
		"bare number":      {answer{body: `12345`}, provider.Invalid},
		"bare list":        {answer{body: `["s3cr3t"]`}, provider.Invalid},
		"PEM":              {answer{body: "-----BEGIN CERTIFICATE-----\ns3cr3t"}, provider.Invalid},
		"cut off":          {answer{body: `{"data":{"k":"s3cr3t`}, provider.Invalid},
		"white space":      {answer{body: "  \n"}, provider.Invalid},
		"errors and more":  {answer{body: `{"errors":["s3cr3t"],"x":1}`}, provider.Invalid},
		"errors of a kind": {answer{body: `{"errors":7,"x":1}`}, provider.Invalid},
		"deep":             {answer{body: strings.Repeat(`{"data":`, 20000)}, provider.Invalid},
		"no key":           {answer{body: `{"data":{"x":"s3cr3t"}}`}, provider.NotFound},
		"short body":       {answer{body: `{"data":{"k":"v"}}`, header: map[string]string{"Content-Length": "500"}}, provider.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeVault(t)
			f.on("GET /v1/a", tt.answer)
			_, err := newRig(t, f).mount(t, "- {objectName: a, secretPath: a, secretKey: k}")
			checkFailure(t, err, tt.kind, `object "a"`)
		})
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	good := answer{body: `{"data":{"k":"v"}}`}
	for name, tt := range map[string]struct {
		answers []answer
		reads   int
		ok      bool
	}{
		"twice 503":        {[]answer{{status: 503}, {status: 500}, good}, 3, true},
		"three times":      {[]answer{{status: 502}, {status: 502}, {status: 502}, good}, 3, false},
		"429":              {[]answer{{status: 429}, good}, 2, true},
		"412":              {[]answer{{status: 412}, good}, 2, true},
		"501":              {[]answer{{status: 501}, good}, 1, false},
		"403":              {[]answer{{status: 403}, good}, 1, false},
		"wait of a minute": {[]answer{{status: 429, header: map[string]string{"Retry-After": "60"}}, good}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFakeVault(t)
			f.on("GET /v1/a", tt.answers...)
			_, err := newRig(t, f).mount(t, objectA)
			if got := len(f.requests()) - 1; got != tt.reads || (err == nil) != tt.ok {
				t.Errorf("%d reads, %v; want %d, ok = %v", got, err, tt.reads, tt.ok)
			}
		})
	}
}

func TestRetryAfterIsPassedOn(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("POST /v1/auth/kubernetes/login", answer{status: 503, header: map[string]string{"Retry-After": "60"}})
	_, err := newRig(t, f).mount(t, objectA)
	var e *provider.Error
	if !errors.As(err, &e) || e.RetryAfter != time.Minute {
		t.Errorf("error %v has no RetryAfter of a minute", err)
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	release := make(chan struct{})
	defer close(release)
	f.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := newRig(t, f).Mount(ctx, newRequest(objectA))
	checkFailure(t, err, provider.Timeout, `object "a"`)
}

func TestConnectionFails(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	r := newRig(t, f)
	_, err := r.mount(t, objectA, "vaultAddress", closedAddress(t))
	checkFailure(t, err, provider.Unavailable, "connection refused")
	_, err = r.mount(t, objectA, "vaultTLSServerName", "other.test")
	checkFailure(t, err, provider.Unavailable, "other.test", "vaultTLSServerName")
	_, err = r.mount(t, objectA, "vaultAddress", strings.Replace(f.URL, "https", "http", 1))
	checkFailure(t, err, provider.Unavailable, "not Vault's")
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	_, err = r.mount(t, objectA, "vaultAddress", strings.Replace(plain.URL, "http", "https", 1))
	checkFailure(t, err, provider.Unavailable, "HTTP response to HTTPS client")
}

func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err = l.Close(); err != nil {
		t.Fatal(err)
	}
	return "https://" + l.Addr().String()
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	active := newFakeVault(t)
	active.on("GET /v1/a?x=1", answer{body: `{"data":{"k":"v"}}`})
	to := func(url string) answer { return answer{status: 307, header: map[string]string{"Location": url}} }
	for name, tt := range map[string]struct {
		location string
		texts    []string // none for success
	}{
		"active node": {active.URL + "/v1/a?x=1", nil},
		"again":       {"/v1/a?x=1", []string{"no second redirect"}},
		"downgrade":   {"http://127.0.0.1:1/v1/a", []string{"not https"}},
		"file":        {"file:///etc/passwd", []string{"not https"}},
		"nowhere":     {"", []string{"nowhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeVault(t)
			f.on("GET /v1/a?x=1", to(tt.location))
			_, err := newRig(t, f).mount(t, `- {objectName: a, secretPath: "a?x=1"}`, "vaultSkipTLSVerify", "true")
			if tt.texts == nil && err != nil {
				t.Fatal(err)
			}
			if tt.texts != nil {
				checkFailure(t, err, provider.Unavailable, tt.texts...)
			}
		})
	}
	last := active.call(len(active.requests()) - 1)
	if diff := cmp.Diff("GET /v1/a?x=1", last.Request); diff != "" || last.Header.Get("X-Vault-Token") != clientToken {
		t.Errorf("the active node saw %+v", last)
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("GET /v1/a", answer{body: `{"data":{"k":"v"}}`})
	socket := filepath.Join(t.TempDir(), "agent.sock")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	agent := &http.Server{Handler: f, ReadHeaderTimeout: time.Second}
	go func() { _ = agent.Serve(l) }()
	t.Cleanup(func() { _ = agent.Close() })
	r := newRig(t, f, func(c *Config) {
		c.Getenv = func(k string) string { return map[string]string{"VAULT_ADDR": "unix://" + socket}[k] }
		c.Flags.Address = ""
	})
	if _, err := r.mount(t, objectA); err != nil {
		t.Error(err)
	}
	if _, err := r.mount(t, objectA, "vaultAddress", f.URL); err != nil {
		t.Errorf("TCP after unix: %v", err)
	}
}
