package vault

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
)

// pods mounts for n pods of a service account at once, and returns their files.
func (r *rig) pods(t *testing.T, n int, objects string, params ...string) []map[string]string {
	t.Helper()
	got := make([]map[string]string, n)
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() {
			resp, err := r.Mount(t.Context(), ask(podOf("web", fmt.Sprint("u", i)), objects, params...))
			if err != nil {
				t.Error(err)
				return
			}
			got[i] = files(resp)
		})
	}
	group.Wait()
	return got
}

func distinct(got []map[string]string, name string) int {
	seen := map[string]bool{}
	for _, g := range got {
		seen[g[name]] = true
	}
	return len(seen)
}

func checkCount(t *testing.T, m *model, what string, want int) {
	t.Helper()
	if got := m.counted(what); got != want {
		t.Errorf("%d times %s, want %d", got, what, want)
	}
}

func TestOneLogin(t *testing.T) {
	t.Parallel()
	noCache := func(c *Config) { c.Flags.CacheSize = 0 }
	shared := func(c *Config) { c.Flags.JWTSessionScope = "service-account" }
	none := func(*Config) {}
	for name, tt := range map[string]struct {
		login  terms
		method string // of the auth mount kubernetes
		params []string
		flags  func(*Config)
		least  int // logins for 100 pods
		most   int
		reads  int
	}{
		"a service account":              {flags: none, least: 1, most: 1, reads: 1},
		"a batch token":                  {flags: none, login: terms{ttl: time.Hour, kind: "batch"}, least: 1, most: 1, reads: 1},
		"a token for two uses":           {flags: none, login: terms{ttl: time.Hour, uses: 2}, least: 1, most: 100, reads: 1},
		"no cache":                       {flags: noCache, least: 1, most: 100, reads: 1},
		"jwt":                            {flags: none, params: []string{"authMethod", "jwt"}, least: 100, most: 100, reads: 100},
		"jwt, shared":                    {flags: shared, params: []string{"authMethod", "jwt"}, least: 1, most: 1, reads: 1},
		"a jwt mount behind the default": {flags: none, method: vaultclass.JWT, least: 100, most: 101, reads: 100},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, r := bubble(t, tt.flags)
				if tt.login.ttl > 0 {
					m.login = tt.login
				}
				m.methods["kubernetes"] = tt.method
				got := r.pods(t, 100, oneKV, tt.params...)
				if n := m.counted("login"); n < tt.least || n > tt.most {
					t.Errorf("%d logins, want %d to %d", n, tt.least, tt.most)
				}
				if n := distinct(got, "login"); n != tt.reads {
					t.Errorf("pods share what %d logins read, want %d", n, tt.reads)
				}
				checkCount(t, m, "GET kv/app", tt.reads)
			})
		})
	}
}

// TestWaiterKeepsItsDeadline: a login that hangs holds up nobody beyond its own time.
func TestWaiterKeepsItsDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		m.fault = func(_ operation, req *http.Request) (int, string) {
			<-req.Context().Done()
			return 500, ""
		}
		var group sync.WaitGroup
		for i := range 5 {
			group.Go(func() {
				wait := time.Duration(i+1) * time.Second
				ctx, cancel := context.WithTimeout(t.Context(), wait)
				defer cancel()
				begin := time.Now()
				_, err := r.Mount(ctx, ask(podOf("web", fmt.Sprint("u", i)), oneKV))
				checkFailure(t, err, provider.Timeout)
				if took := time.Since(begin); took > wait+time.Millisecond {
					t.Errorf("waited %v, and had %v", took, wait)
				}
			})
		}
		group.Wait()
		checkCount(t, m, "login", 1)
	})
}

// TestRefusedPredecessor: a pod whose token Vault refuses does not spoil the login of
// those that wait; three refusals in a row are enough for a while.
func TestRefusedPredecessor(t *testing.T) {
	t.Parallel()
	bad := func(i int) *provider.Request {
		req := ask(podOf("web", fmt.Sprint("bad", i)), oneKV)
		token := req.Tokens["vault"]
		token.Value = provider.Secret(strings.TrimSuffix(string(token.Value), "sig") + "forged")
		req.Tokens["vault"] = token
		return req
	}
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		m.fault = func(op operation, _ *http.Request) (int, string) {
			time.Sleep(time.Second) // so that the others come to wait
			return 0, ""
		}
		var group sync.WaitGroup
		group.Go(func() {
			_, err := r.Mount(t.Context(), bad(0))
			checkFailure(t, err, provider.Denied)
		})
		time.Sleep(time.Millisecond)
		for i := range 20 {
			group.Go(func() { r.must(t, ask(podOf("web", fmt.Sprint("u", i)), oneKV)) })
		}
		group.Wait()
		checkCount(t, m, "login", 2)
	})
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		for i := range 50 {
			_, err := r.Mount(t.Context(), bad(i))
			checkFailure(t, err, provider.Denied, "login with role", "permission denied")
		}
		checkCount(t, m, "login", 3)
		time.Sleep(denialWindow + time.Second)
		r.must(t, ask(webPod, oneKV))
		checkCount(t, m, "login", 4)
	})
}

func TestBothErrors(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		r.must(t, ask(webPod, oneKV))
		m.set(func() {
			m.tokens = map[string]*modelToken{}
			m.fault = func(op operation, _ *http.Request) (int, string) {
				if op == opLogin {
					return refusing("service account name not authorized")
				}
				return 0, ""
			}
		})
		time.Sleep(time.Minute)
		_, err := r.Mount(t.Context(), ask(webPod, oneKV))
		checkFailure(t, err, provider.Denied, "invalid token", "service account name not authorized", "bound_service_account_names")
	})
}

func TestEnvToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t, func(c *Config) {
			c.Flags.AllowEnvToken = true
			c.Getenv = func(name string) string { return map[string]string{"VAULT_TOKEN": "hvs.root"}[name] }
		})
		root := &modelToken{made: time.Now(), expiry: time.Now().Add(1000 * time.Hour), terms: terms{uses: 0}}
		m.tokens["hvs.root"] = root
		r.pods(t, 20, oneKV)
		got := r.pods(t, 3, oneCred)
		checkCount(t, m, "login", 0)
		m.set(func() { m.denied["GET kv/other"] = true })
		_, err := r.Mount(t.Context(), ask(webPod, "- {objectName: a, secretPath: kv/other}"))
		checkFailure(t, err, provider.Denied)
		checkCount(t, m, "login", 1) // after the refusal, as itself
		r.Close(context.Background())
		checkCount(t, m, "revoke_token", 1)
		if !root.live(time.Now()) || !m.works(got[0]["user"]) {
			t.Error("the operator's token is revoked")
		}
		if !strings.Contains(r.log.String(), "every pod reads as the owner of VAULT_TOKEN") {
			t.Errorf("no warning: %s", r.log)
		}
	})
}

// TestJoinedRenewal: who has seen a token refused does not get it back from the
// renewal of another.
func TestJoinedRenewal(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		r.must(t, ask(webPod, oneKV))
		m.set(func() {
			m.denied["GET kv/b"] = true
			m.fault = func(op operation, req *http.Request) (int, string) {
				if op == opRenewToken || strings.HasSuffix(req.URL.Path, "/kv/b") {
					time.Sleep(time.Second)
				}
				return 0, ""
			}
		})
		time.Sleep(40*time.Minute + 12*time.Second - 500*time.Millisecond) // 67 % of an hour, nearly
		var group sync.WaitGroup
		group.Go(func() {
			_, err := r.Mount(t.Context(), ask(podOf("web", "u2"), "- {objectName: a, secretPath: kv/b}"))
			checkFailure(t, err, provider.Denied)
		})
		group.Go(func() {
			time.Sleep(750 * time.Millisecond)
			r.must(t, ask(podOf("web", "u3"), oneKV))
		})
		group.Wait()
		checkCount(t, m, "renew_token", 1)
		checkCount(t, m, "login", 2)
	})
}

// TestRenewal: a token is renewed ahead of its end, and one that cannot be is replaced.
func TestRenewal(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		login                   terms
		denied                  string
		logins, renewals, calls int // within 10 minutes; calls is the most revocations
	}{
		"renewable":         {terms{ttl: time.Minute, max: time.Hour, renewable: true, kind: "service"}, "", 1, 13, 0},
		"not renewable":     {terms{ttl: time.Minute, max: time.Hour, kind: "service"}, "", 14, 0, 0},
		"batch":             {terms{ttl: time.Minute, max: time.Hour, kind: "batch"}, "", 14, 0, 0},
		"capped by max TTL": {terms{ttl: time.Minute, max: 150 * time.Second, renewable: true, kind: "service"}, "", 5, 14, 5},
		"not allowed to":    {terms{ttl: time.Minute, max: time.Hour, renewable: true, kind: "service"}, "renew_token", 14, 14, 14},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, r := bubble(t)
				m.login = tt.login
				if tt.denied != "" {
					m.denied[tt.denied] = true
				}
				for range 150 {
					r.must(t, ask(webPod, oneKV))
					time.Sleep(4 * time.Second)
				}
				m.mu.Lock()
				defer m.mu.Unlock()
				logins, renewals, calls := m.count["login"], m.count["renew_token"], m.count["revoke_token"]
				if logins < tt.logins-1 || logins > tt.logins+1 || renewals < tt.renewals-2 || renewals > tt.renewals+2 || calls > tt.calls {
					t.Errorf("%d logins, %d renewals, %d revocations; want %d, %d and at most %d", logins, renewals, calls, tt.logins, tt.renewals, tt.calls)
				}
			})
		})
	}
}

// TestManyPlaces: more auth mounts than are remembered, of which a login counts for
// one pod, are no reason to refuse any.
func TestManyPlaces(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		m.methods["odd"] = vaultclass.JWT
		r.mu.Lock()
		for i := range maxApart {
			r.apart[place{mount: fmt.Sprint(i)}] = true
		}
		r.mu.Unlock()
		r.must(t, ask(webPod, oneKV, "vaultAuthMountPath", "odd"))
		if n := len(r.apart); n > maxApart {
			t.Errorf("%d places are remembered", n)
		}
	})
}

// TestNobodyInParticular: pods of which kubelet tells no UID share no jwt session.
func TestNobodyInParticular(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		m.methods["kubernetes"] = vaultclass.JWT
		logins := map[string]bool{}
		for i := range 3 {
			pod := podOf("web", "")
			pod.Name = fmt.Sprint("web-", i)
			for _, method := range []string{"jwt", "kubernetes"} {
				logins[r.must(t, ask(pod, oneKV, "authMethod", method))["login"]] = true
			}
		}
		if len(logins) != 6 {
			t.Errorf("%d logins for three pods and two methods", len(logins))
		}
	})
}

// TestLoginUnavailable: as long as a token is good, nobody needs another.
func TestLoginUnavailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		m.login.renewable = false
		r.must(t, ask(webPod, oneKV))
		m.set(func() {
			m.fault = func(op operation, _ *http.Request) (int, string) {
				if op == opLogin {
					return 500, `{"errors":["the API server does not answer"]}`
				}
				return 0, ""
			}
		})
		time.Sleep(45 * time.Minute) // of one hour
		r.must(t, ask(webPod, oneKV))
		time.Sleep(20 * time.Minute)
		_, err := r.Mount(t.Context(), ask(webPod, oneKV))
		checkFailure(t, err, provider.Unavailable, "the API server does not answer")
	})
}

func TestFewUses(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ uses, objects, logins int }{{1, 1, 1}, {1, 3, 3}, {2, 1, 1}, {2, 2, 2}, {4, 4, 2}} {
		t.Run(fmt.Sprint(tt.uses, " uses for ", tt.objects), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, r := bubble(t)
				m.login.uses = tt.uses
				var objects strings.Builder
				for i := range tt.objects {
					fmt.Fprintf(&objects, "- {objectName: a%d, secretPath: transit/%d, method: PUT}\n", i, i)
				}
				for i := range 3 {
					r.must(t, ask(webPod, objects.String()))
					time.Sleep(time.Minute)
					if n := m.counted("login"); n < (i+1)*((tt.objects+tt.uses-1)/tt.uses) || n > (i+1)*tt.logins {
						t.Errorf("%d logins after %d mounts, want %d each", n, i+1, tt.logins)
					}
				}
				m.mu.Lock()
				defer m.mu.Unlock()
				for _, token := range m.tokens {
					if token.live(time.Now()) {
						t.Errorf("the token of login %d is left, with %d uses", token.login, token.left)
					}
				}
			})
		})
	}
}

// TestFewUsesWithLease: the last use of a token would end the leases that it made.
func TestFewUsesWithLease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		m.login.uses = 3
		objects := oneCred + "\n- {objectName: b, secretPath: db/creds/b, secretKey: username}\n" +
			"- {objectName: c, secretPath: db/creds/c, secretKey: username}\n- {objectName: d, secretPath: kv/d}"
		got := r.must(t, ask(webPod, objects))
		for range 30 {
			time.Sleep(time.Second)
			for _, name := range []string{"user", "b", "c"} {
				if !m.works(got[name]) {
					t.Fatalf("%s does not work any more", name)
				}
			}
		}
	})
}

// TestForbidden is what follows a 403 on a token that was there before.
func TestForbidden(t *testing.T) {
	t.Parallel()
	const path = "GET kv/app"
	t.Run("right after a login", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			m, r := bubble(t)
			m.denied[path] = true
			_, err := r.Mount(t.Context(), ask(webPod, oneKV))
			checkFailure(t, err, provider.Denied, "permission denied", "policies")
			checkCount(t, m, "login", 1)
			checkCount(t, m, path, 1)
		})
	})
	for name, change := range map[string]func(*model){
		"":                          func(*model) {},
		" that says little":         func(m *model) { m.mute = true },
		" without lookup-self":      func(m *model) { m.denied["lookup_token"] = true },
		" that says and lets do so": func(m *model) { m.mute, m.denied["lookup_token"] = true, true },
	} {
		t.Run("a revoked token of a Vault"+name, func(t *testing.T) { revokedTokens(t, change) })
		t.Run("a policy of a Vault"+name, func(t *testing.T) { deniedPaths(t, change) })
	}
}

func revokedTokens(t *testing.T, change func(*model)) {
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		change(m)
		for i := range 4 {
			r.must(t, ask(webPod, oneKV))
			checkCount(t, m, "login", i+1)
			m.killTokens()
			time.Sleep(5 * time.Second)
		}
		checkCount(t, m, "GET kv/app", 7)
		checkCount(t, m, "lookup_token", 0)
	})
}

func (m *model) killTokens() {
	m.set(func() {
		for _, token := range m.tokens {
			token.gone = true
		}
	})
}

// deniedPaths has many pods ask for what they may not have, while another path is fine.
func deniedPaths(t *testing.T, change func(*model)) {
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		change(m)
		denied := "- {objectName: a, secretPath: kv/a}\n- {objectName: b, secretPath: kv/b}\n- {objectName: c, secretPath: kv/c}"
		r.must(t, ask(webPod, oneKV))
		m.set(func() { m.denied["GET kv/a"], m.denied["GET kv/b"], m.denied["GET kv/c"] = true, true, true })
		for i := range 120 {
			_, err := r.Mount(t.Context(), ask(podOf("web", fmt.Sprint("u", i%50)), denied))
			checkFailure(t, err, provider.Denied)
			r.must(t, ask(webPod, "- {objectName: a, secretPath: kv/good}"))
			time.Sleep(5 * time.Second)
		}
		if n := m.counted("login"); n > 15 {
			t.Errorf("%d logins in 10 minutes", n)
		}
		m.killTokens()
		r.eventually(t, firstRelogin, oneKV) // a token that is really dead is found out all the same
		time.Sleep(20 * time.Second)
		m.set(func() { // what the role gets is seen by the next login
			now := m.serial
			m.denied = map[string]bool{}
			m.fault = func(_ operation, req *http.Request) (int, string) {
				m.mu.Lock()
				defer m.mu.Unlock()
				if token := m.tokens[req.Header.Get("X-Vault-Token")]; token != nil && token.login <= now {
					return refusing("permission denied")
				}
				return 0, ""
			}
		})
		r.eventually(t, mostRelogin, denied)
	})
}

func (r *rig) eventually(t *testing.T, within time.Duration, objects string) {
	t.Helper()
	for begin := time.Now(); ; time.Sleep(time.Second) {
		_, err := r.Mount(t.Context(), ask(webPod, objects))
		if err == nil {
			return
		}
		if time.Since(begin) > within+5*time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
			return
		}
	}
}
