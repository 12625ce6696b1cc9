package kube

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/strongroom/strongroom/provider"
)

// FuzzAnswer has the API server refuse the token of a pod with anything: the error is
// bounded, and it says what to do.
func FuzzAnswer(f *testing.F) {
	f.Add(403, "", []byte(`{"message":"serviceaccounts \"web\" is forbidden"}`))
	f.Add(429, "3", []byte(`{"message":""}`))
	f.Add(503, "99999999999999999999", []byte(`<html>`))
	f.Add(200, "-1", []byte(strings.Repeat("x", 5000)))
	f.Add(503, "9000000000", []byte(`{}`))
	f.Add(0, "9223372036854775807", []byte(`{"message":"`+strings.Repeat("é", 5000)+`"}`))
	f.Fuzz(func(t *testing.T, code int, retryAfter string, body []byte) {
		resp := &http.Response{StatusCode: code, Status: http.StatusText(code), Header: http.Header{"Retry-After": {retryAfter}}}
		err := tokenError(provider.Pod{Namespace: "ns", Name: "p", ServiceAccount: "web"}, refused(resp, body))
		if text := err.Error(); len(text) > maxMessage+1000 || json.Valid(body) && !utf8.ValidString(text) {
			t.Errorf("the error has %d bytes: %.200q", len(text), text)
		}
		if e, ok := errors.AsType[*provider.Error](err); ok && (e.RetryAfter < 0 || e.RetryAfter > time.Hour) {
			t.Errorf("it is tried again in %v", e.RetryAfter)
		}
	})
}
