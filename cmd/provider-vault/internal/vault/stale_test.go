package vault

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/provider"
)

type staleCase struct {
	fault  func(operation, *http.Request) (int, string)
	asks   *provider.Request
	after  time.Duration // 1 minute if it is 0
	served bool
	forgot bool // also when Vault is merely sealed, later
}

func staleCases() map[string]staleCase {
	const path = "/kv/app"
	answers := func(status int) func(operation, *http.Request) (int, string) {
		return func(_ operation, r *http.Request) (int, string) {
			if strings.HasSuffix(r.URL.Path, path) {
				return status, `{"errors":["no"]}`
			}
			return 0, ""
		}
	}
	newPod := ask(podOf("web", "u2"), oneKV, "staleIfError", "10m")
	broken := func(operation, *http.Request) (int, string) { panic(http.ErrAbortHandler) }
	hanging := func(_ operation, r *http.Request) (int, string) {
		<-r.Context().Done()
		return 500, ""
	}
	refused := func(op operation, _ *http.Request) (int, string) {
		if op == opLogin {
			return refusing("permission denied")
		}
		return refusing("1 error occurred:\\n\\t* invalid token\\n\\n")
	}
	expired := ask(podOf("web", "u2"), oneKV, "staleIfError", "10m")
	token := expired.Tokens["vault"]
	token.Expires = time.Unix(1, 0)
	expired.Tokens["vault"] = token
	return map[string]staleCase{
		"sealed":                   {fault: down(503), asks: newPod, served: true},
		"an error of Vault's":      {fault: down(500), asks: newPod, served: true},
		"a bad gateway":            {fault: down(502), asks: newPod, served: true},
		"too many requests":        {fault: down(429), asks: newPod, served: true},
		"a broken connection":      {fault: broken, asks: newPod, served: true},
		"a Vault that hangs":       {fault: hanging, asks: newPod, served: true},
		"hangs, and the token old": {fault: hanging, asks: newPod, after: 8*time.Minute + 10*time.Second, served: true},
		"sealed, no token left":    {fault: down(503), asks: newPod, after: 8*time.Minute + 10*time.Second, served: true},
		"400":                      {fault: answers(400), asks: newPod, forgot: true},
		"401":                      {fault: answers(401), asks: newPod, forgot: true},
		"403":                      {fault: answers(403), asks: newPod, forgot: true},
		"404":                      {fault: answers(404), asks: newPod, forgot: true},
		"a refused login":          {fault: refused, asks: newPod, forgot: true},
		"too old":                  {fault: down(503), asks: newPod, after: 11 * time.Minute, forgot: true},
		"a redirect that is not followed": {fault: func(operation, *http.Request) (int, string) {
			return 307, ""
		}, asks: newPod},
		"not asked for":     {fault: down(503), asks: ask(podOf("web", "u2"), oneKV)},
		"for a shorter age": {fault: down(503), asks: ask(podOf("web", "u2"), oneKV, "staleIfError", "30s")},
		"another path":      {fault: down(503), asks: ask(podOf("web", "u2"), "- {objectName: a, secretPath: kv/b}", "staleIfError", "10m")},
		"another role":      {fault: down(503), asks: ask(podOf("web", "u2"), oneKV, "staleIfError", "10m", "roleName", "b")},
		"another account":   {fault: down(503), asks: ask(podOf("api", "u2"), oneKV, "staleIfError", "10m")},
		"a leased secret":   {fault: down(503), asks: ask(podOf("web", "u2"), oneCred, "staleIfError", "10m")},
		"an expired token":  {fault: down(503), asks: expired},
		"a mounted volume":  {fault: down(503), asks: ask(podOf("web", "u1"), oneKV, "staleIfError", "10m")},
	}
}

// TestStaleIfError: who gets the last value from memory, and who does not.
func TestStaleIfError(t *testing.T) {
	t.Parallel()
	for name, tt := range staleCases() {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, r := bubble(t)
				m.login.ttl = 8 * time.Minute
				read := time.Now()
				r.must(t, ask(podOf("web", "u1"), oneKV+"\n"+oneCred, "staleIfError", "10m"))
				time.Sleep(max(tt.after, time.Minute))
				m.set(func() { m.fault = tt.fault })
				mount := func(req *provider.Request) (*provider.Response, error) {
					ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second) // as the driver does
					defer cancel()
					return r.Mount(ctx, req)
				}
				resp, err := mount(tt.asks)
				if tt.served != (err == nil) {
					t.Errorf("served: %v; %v", resp, err)
				}
				if err == nil && (files(resp)["value"] != "v0" || resp.Stale.Sub(read).Abs() > time.Second) {
					t.Errorf("served %v, of %v", files(resp), resp.Stale)
				}
				m.set(func() { m.fault = down(503) })
				time.Sleep(denialWindow + time.Second)
				if _, err = mount(ask(podOf("web", "u3"), oneKV, "staleIfError", "10m")); tt.forgot == (err == nil) {
					t.Errorf("when Vault is sealed later: %v", err)
				}
				m.set(func() { m.fault = nil })
				if resp, err = mount(ask(podOf("web", "u4"), oneKV, "staleIfError", "10m")); err != nil || !resp.Stale.IsZero() {
					t.Errorf("when Vault is back: %v", err)
				}
			})
		})
	}
}

func TestStaleIfErrorIsCapped(t *testing.T) {
	t.Parallel()
	for cap, served := range map[time.Duration]bool{0: false, 30 * time.Second: false, 5 * time.Minute: true} {
		synctest.Test(t, func(t *testing.T) {
			m, r := bubble(t, func(c *Config) { c.Flags.MaxStaleIfError = cap })
			r.must(t, ask(podOf("web", "u1"), oneKV, "staleIfError", "10m"))
			time.Sleep(time.Minute)
			m.set(func() { m.fault = down(503) })
			if _, err := r.Mount(t.Context(), ask(podOf("web", "u2"), oneKV, "staleIfError", "10m")); served != (err == nil) {
				t.Errorf("with a cap of %v: %v", cap, err)
			}
		})
	}
}

// TestStaleIfErrorIsBounded: what is remembered for hours has a limit.
func TestStaleIfErrorIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		m.value = strings.Repeat("x", 1<<20)
		for i := range 12 {
			r.must(t, ask(webPod, "- {objectName: a, secretPath: kv/a"+strings.Repeat("a", i)+", secretKey: login}", "staleIfError", "10m"))
		}
		if total := r.memory.Used(); total == 0 || total > maxLast {
			t.Errorf("%d bytes are remembered", total)
		}
	})
}
