package azure

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/provider"
)

func asPod(req *provider.Request) *provider.Request {
	req.Parameters["usePodIdentity"] = "true"
	return req
}

type nmiCase struct {
	pod    string        // u1 if it is empty
	fault  cloud.Fault   // at the NMI
	tokens int           // that two mounts cost, of one object each
	kind   provider.Kind // of the error
	says   []string      // in the error; nil if there is none
}

func nmiCases() map[string]nmiCase {
	body := func(status int, text string) cloud.Fault { return cloud.Fault{Status: status, Body: text} }
	const token = `{"token":{"access_token":"` + canary + `"`
	return map[string]nmiCase{
		"a number":               {tokens: 1},
		"a number in a string":   {pod: "string", tokens: 1},
		"a date":                 {pod: "date", tokens: 2},
		"slow":                   {fault: cloud.Fault{Millis: 8_000}, tokens: 1},
		"hangs once":             {fault: cloud.Fault{Hang: true, Times: 1}, tokens: 1},
		"down for a moment":      {fault: cloud.Fault{Status: 503, Times: 1}, tokens: 1},
		"unknown pod":            {pod: "stranger", kind: provider.Denied, says: []string{"the NMI answered 404:", "use workload identity"}},
		"404 with a body":        {fault: body(404, canary), kind: provider.Denied, says: []string{"the NMI answered 404:"}},
		"404 that says why":      {fault: body(404, `{"error":"not_found","x":"`+canary+`"}`), kind: provider.Denied, says: []string{"the NMI answered 404 not_found"}},
		"403 with a token":       {fault: body(403, token+`},"clientid":"x"}`), kind: provider.Denied, says: []string{"the NMI answered 403:"}},
		"no token":               {fault: body(200, `{"token":{"expires_on":1},"clientid":"x"}`), kind: provider.Unavailable, says: []string{"no access_token"}},
		"an empty object":        {fault: body(200, `{}`), kind: provider.Unavailable, says: []string{"no access_token"}},
		"no client":              {fault: body(200, token+`}}`), kind: provider.Unavailable, says: []string{"no clientid"}},
		"cut":                    {fault: body(200, token), kind: provider.Unavailable, says: []string{"cannot be understood"}},
		"a page":                 {fault: body(200, "<html>"+canary), kind: provider.Unavailable, says: []string{"cannot be understood"}},
		"a token without an end": {fault: body(200, `"`+strings.Repeat("A", maxReply)+`"`), kind: provider.Invalid, says: []string{errTooLong.Error()}},
		"503":                    {fault: cloud.Fault{Status: 503}, kind: provider.Unavailable, says: []string{"the NMI answered 503"}},
		"429":                    {fault: cloud.Fault{Status: 429, RetryAfter: "1"}, kind: provider.Throttled, says: []string{"the NMI answered 429"}},
		"hangs":                  {fault: cloud.Fault{Hang: true}, kind: provider.Timeout, says: []string{"context deadline exceeded"}},
	}
}

// (azure-contract 17.21)
func TestNMI(t *testing.T) {
	t.Parallel()
	for name, tt := range nmiCases() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newBubble(t)
				g.forbidNodeIdentity = true // is not about pod identity
				g.put(t, "db", "v1")
				if tt.fault != (cloud.Fault{}) {
					tt.fault.Where = "nmi"
					g.AddFault(tt.fault)
				}
				if tt.pod == "" {
					tt.pod = "u1"
				}
				req := asPod(ask(podOf(tt.pod), oneSecret))
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second) // as the driver does
				defer cancel()
				_, err := g.Mount(ctx, req)
				if tt.says == nil {
					if err != nil {
						t.Fatal(err)
					}
					time.Sleep(time.Minute)
					g.must(t, req)
					if n := g.Counters().NMITokens["shop/web-"+tt.pod]; n != tt.tokens {
						t.Errorf("%d tokens", n)
					}
					return
				}
				if provider.KindOf(err) != tt.kind || strings.Contains(err.Error(), canary) {
					t.Errorf("%v: %v", provider.KindOf(err), err)
				}
				for _, text := range append(tt.says, "as PodIdentity of pod shop/web-"+tt.pod+": ") {
					if !strings.Contains(err.Error(), text) {
						t.Errorf("the error does not say %q: %v", text, err)
					}
				}
			})
		})
	}
}

// Most clusters have no NMI any more.
func TestNoNMI(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		dial := g.Transport.DialContext
		g.Transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == nmiHost {
				return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
			}
			return dial(ctx, network, address)
		}
		_, err := g.Mount(t.Context(), asPod(ask(podOf("u1"), oneSecret)))
		if provider.KindOf(err) != provider.Unavailable || !strings.Contains(err.Error(), "connection refused: is the NMI") {
			t.Error(err)
		}
	})
}

// The resource comes from the definition of a cloud. (azure-contract 16.38)
func TestNMIAddress(t *testing.T) {
	t.Parallel()
	for resource, want := range map[string]string{
		"https://vault.azure.net":    "http://localhost:2579/host/token/?resource=https%3A%2F%2Fvault.azure.net",
		"https://a.test/?x&client=1": "http://localhost:2579/host/token/?resource=https%3A%2F%2Fa.test%2F%3Fx%26client%3D1",
		"":                           "",
	} {
		made, err := newNMI(&caller{identity: identity{cloud: environment{name: "AzureStackCloud", resource: resource}}}, azcore.ClientOptions{})
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "AzureStackCloud lacks keyVaultEndpoint") {
				t.Error(err)
			}
			continue
		}
		if n, ok := made.(*nmi); !ok || n.url != want {
			t.Errorf("%+v, %v", made, err)
		}
	}
}

// A pod's token is the pod's alone, whatever it has in common with another one.
func TestOnePodEach(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "v1")
		pods := map[string]string{"u1": assigned, "u2": machine}
		for uid := range pods {
			g.must(t, asPod(ask(podOf(uid), oneSecret, "staleIfError", "1h")))
		}
		again := podOf("u1") // of a StatefulSet: there is another one of the same name
		again.UID = "u3"
		g.must(t, asPod(ask(again, oneSecret, "staleIfError", "1h")))
		c := g.Counters()
		if c.NMITokens["shop/web-u1"] != 2 || c.NMITokens["shop/web-u2"] != 1 {
			t.Errorf("%+v", c)
		}
		for uid, client := range pods {
			want := map[string]int{"u1": 2, "u2": 1}[uid]
			if n := c.Count(cloud.Read{Op: "get", Name: "db", Client: client}); n != want {
				t.Errorf("%d reads as %s, want %d", n, client, want)
			}
		}
		// What one pod was told is not remembered for others.
		g.AddFault(cloud.Fault{Where: "vault", Status: 503})
		other := podOf("u2")
		other.UID = "u4"
		if resp, err := g.Mount(t.Context(), asPod(ask(other, oneSecret, "staleIfError", "1h"))); err == nil {
			t.Errorf("got %q", resp.Files[0].Contents)
		}
	})
}

// FuzzNMI: whatever the NMI answers, there is a token that ends, or an error without a
// part of the reply.
func FuzzNMI(f *testing.F) {
	for _, text := range []string{
		`{"token":{"access_token":"T0KEN","expires_on":1767225600},"clientid":"x"}`, `{"token":{"access_token":"T0KEN","expires_on":"1767225600"},"clientid":"x"}`,
		`{"token":{"access_token":"T0KEN","expires_on":-1},"clientid":"x"}`, `{"token":{"access_token":"T0KEN","expires_on":1e300},"clientid":"x"}`,
		`{"token":{"access_token":"T0KEN","expires_on":99999999999999},"clientid":"x"}`, `{"token":{"access_token":"T0KEN","expires_on":["T0KEN"]},"clientid":"x"}`,
		`{"token":{"access_token":"T0KEN"},"clientid":"x"}`, `{"token":{"access_token":""},"clientid":"T0KEN"}`, `{"token":{"access_token":"T0KEN"}}`,
		`{"token":{"access_token":7},"clientid":"T0KEN"}`, `{"token":null,"clientid":null}`, `{"token":"T0KEN"}`, `{"T0KEN":`, `T0KEN`, ``, `null`, `[]`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		checkNMI(t, body)
	})
}

func checkNMI(t *testing.T, body []byte) {
	t.Helper()
	got, err := readNMI(body)
	if err != nil {
		if text := err.Error(); strings.Contains(text, "T0KEN") || got.Token != "" || len(text) > 200 {
			t.Errorf("%q: %+v", err, got)
		}
		return
	}
	if got.Token == "" || !json.Valid(body) || got.ExpiresOn.Year() > 9999 || got.ExpiresOn.Unix() < 0 {
		t.Errorf("%q: %+v", body, got)
	}
}
