package vault

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/coalesce"
)

// keepMounted asks again whenever the response wants that, for a while, and checks
// that what a pod has got works all the time, also one second after it changes.
func (r *rig) keepMounted(t *testing.T, m *model, req *provider.Request, during time.Duration) (users map[string]bool) {
	t.Helper()
	users = map[string]bool{}
	end := time.Now().Add(during)
	before := ""
	for time.Now().Before(end) {
		resp := r.respond(t, req)
		user := files(resp)["user"]
		users[user] = true
		if resp.Refresh <= 0 || resp.Expires.IsZero() {
			t.Fatalf("a lease, and refresh %v, expires %v", resp.Refresh, resp.Expires)
		}
		for next := time.Now().Add(min(resp.Refresh, time.Until(end))); time.Now().Before(next); time.Sleep(time.Second) {
			if !m.works(user) || before != "" && !m.works(before) {
				t.Fatalf("%s or its predecessor %s does not work", user, before)
			}
			before = ""
		}
		before = user
	}
	return users
}

// TestLeasesBelongToOneVolume: also when many ask at once and nobody knows yet that
// there is a lease.
func TestLeasesBelongToOneVolume(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		for round := range 3 {
			got := r.pods(t, 20, oneCred)
			if n := distinct(got, "user"); n != 20 {
				t.Errorf("20 volumes have %d users", n)
			}
			for _, g := range got {
				if strings.TrimPrefix(g["user"], "user of ") != strings.TrimPrefix(g["password"], "password of ") {
					t.Errorf("%s with the %s", g["user"], g["password"])
				}
			}
			checkCount(t, m, "GET db/creds/app", 20)
			checkCount(t, m, "login", 1)
			time.Sleep(time.Duration(round) * 10 * time.Second)
		}
	})
}

func TestPrivateReplies(t *testing.T) {
	t.Parallel()
	for _, object := range []string{
		"- {objectName: a, secretPath: wrapped/a}", "- {objectName: a, secretPath: token/a}",
		"- {objectName: a, secretPath: transit/a, method: PUT}", "- {objectName: a, secretPath: transit/a, method: POST}",
		"- {objectName: a, secretPath: kv/a, method: LIST}", "- {objectName: a, secretPath: kv/a, secretArgs: {a: 1}}",
		"- {objectName: a, secretPath: pki/issue/a, method: PUT}",
	} {
		synctest.Test(t, func(t *testing.T) {
			m, r := bubble(t)
			if n := distinct(r.pods(t, 20, object), "a"); n != 20 {
				t.Errorf("%s: 20 volumes share %d replies", object, n)
			}
			checkCount(t, m, "read", 20)
		})
	}
}

// checkNothingLeft has time pass until a provider without volumes remembers nothing.
func checkNothingLeft(t *testing.T, r *rig) {
	t.Helper()
	time.Sleep(3 * time.Minute)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.volumes) != 0 || len(r.sessions) != 0 {
		t.Errorf("%d volumes and %d sessions are left", len(r.volumes), len(r.sessions))
	}
}

// TestSessionEnds: the token goes back when the last volume has gone for a while, and
// no sooner.
func TestSessionEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		kv, cred := ask(webPod, oneKV), ask(podOf("web", "u2"), oneCred)
		r.must(t, kv)
		user := r.must(t, cred)["user"]
		r.Unmounted(t.Context(), kv.Volume)
		time.Sleep(10 * time.Minute)
		checkCount(t, m, "revoke_token", 0)
		if !m.works(user) {
			t.Error("a live volume's credential is gone")
		}
		r.Unmounted(t.Context(), cred.Volume)
		time.Sleep(30 * time.Second)
		r.must(t, kv) // a deployment that restarts
		checkCount(t, m, "login", 1)
		r.Unmounted(t.Context(), kv.Volume)
		checkNothingLeft(t, r)
		checkCount(t, m, "revoke_token", 1)
	})
}

// TestClose: tokens that no lease depends on go back; pods keep what the others made.
func TestClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		r.must(t, ask(webPod, oneKV, "roleName", "kv"))
		user := r.must(t, ask(podOf("web", "u2"), oneCred))["user"]
		r.Close(t.Context())
		checkCount(t, m, "revoke_token", 1)
		time.Sleep(m.lease.ttl - time.Second)
		if !m.works(user) {
			t.Error("the credential did not live to its end")
		}
		checkCount(t, m, "renew_lease", 0)
		checkCount(t, m, "renew_token", 0)
	})
}

// TestFreshness: no mount gets what was read more than 10 s before it, or before the
// refresh was forced; and those that come together share one read.
func TestFreshness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		for i := range 4 {
			m.set(func() { m.value = fmt.Sprint("v", i) })
			written := time.Now()
			old := 0
			for j := range 30 {
				got := r.must(t, ask(podOf("web", fmt.Sprint(i, "-", j)), oneKV))["value"]
				if got != fmt.Sprint("v", i) {
					old++
					if time.Since(written) > coalesce.Window {
						t.Errorf("%s, %v after it was replaced", got, time.Since(written))
					}
				}
				time.Sleep(time.Second)
			}
			if i > 0 && old == 0 {
				t.Error("nothing is shared")
			}
			m.set(func() { m.value = "forced" })
			force := time.Now()
			before := m.counted("GET kv/app")
			var group sync.WaitGroup
			for j := range 10 {
				group.Go(func() {
					req := ask(podOf("web", fmt.Sprint(i, "-", j)), oneKV)
					req.NotBefore = force
					if got := r.must(t, req)["value"]; got != "forced" {
						t.Errorf("a forced refresh got %s", got)
					}
				})
			}
			group.Wait()
			checkCount(t, m, "GET kv/app", before+1)
		}
	})
}

// TestRevokedByOthers: a token that somebody else revokes takes its leases along; the
// next mounts have new ones.
func TestRevokedByOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		m.lease = terms{ttl: time.Minute, max: time.Hour, renewable: true}
		reqs := []*provider.Request{ask(webPod, oneCred), ask(podOf("web", "u2"), oneCred)}
		for _, req := range reqs {
			r.must(t, req)
		}
		m.killTokens()
		time.Sleep(35 * time.Second) // half a lease, when it is to be renewed
		for _, req := range reqs {
			if user := r.must(t, req)["user"]; !m.works(user) {
				t.Errorf("%s got what does not work", req.Volume)
			}
		}
		checkCount(t, m, "login", 2)
	})
}

// TestFailedFirstMount: what was made for a volume that never came to be goes back.
func TestFailedFirstMount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		m.lease.ttl = time.Hour
		req := ask(webPod, oneCred+"\n- {objectName: x, secretPath: none}")
		for range 5 {
			_, err := r.Mount(t.Context(), req)
			checkFailure(t, err, provider.NotFound)
			time.Sleep(time.Second)
		}
		if n := m.counted("GET db/creds/app"); n > 1 {
			t.Errorf("%d credentials for one volume", n)
		}
		time.Sleep(10 * time.Minute)
		if n := m.liveLeases(); n != 0 {
			t.Errorf("%d leases are left", n)
		}
		checkNothingLeft(t, r)
	})
}

// TestUnmountedWithWhatWasReplaced: all leases of a volume go with it, and nobody else's.
func TestUnmountedWithWhatWasReplaced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		req, other := ask(webPod, oneCred), ask(podOf("web", "u2"), oneCred)
		r.must(t, other)
		for range 3 {
			r.must(t, req)
			time.Sleep(time.Second)
			req.NotBefore = time.Now() // a forced refresh takes new ones
		}
		if n := m.liveLeases(); n != 4 {
			t.Errorf("%d leases, want 4: what is replaced is not revoked", n)
		}
		r.Unmounted(t.Context(), req.Volume)
		r.Unmounted(t.Context(), req.Volume)
		r.Unmounted(t.Context(), "csi-unknown")
		time.Sleep(time.Second)
		checkCount(t, m, "revoke_lease", 3)
		if n := m.liveLeases(); n != 1 {
			t.Errorf("%d leases, want the other volume's", n)
		}
	})
}

func TestUnmountedWhileMounted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		m.fault = func(op operation, _ *http.Request) (int, string) {
			if op == opRead {
				time.Sleep(time.Second)
			}
			return 0, ""
		}
		req := ask(webPod, oneCred+"\n- {objectName: c, secretPath: pki/issue/c, method: PUT}")
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = r.Mount(t.Context(), req)
		}()
		time.Sleep(500 * time.Millisecond)
		r.Unmounted(t.Context(), req.Volume)
		<-done
		time.Sleep(5 * time.Second)
		if n := m.liveLeases(); n != 0 {
			t.Errorf("%d leases are left", n)
		}
		checkCount(t, m, "revoke_lease", 1)
		checkNothingLeft(t, r)
	})
}

func TestUnmountedWhileVaultIsAway(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		req := ask(webPod, oneCred)
		r.must(t, req)
		m.set(func() { m.fault = down(503) })
		r.Unmounted(t.Context(), req.Volume)
		time.Sleep(15 * time.Second)
		m.set(func() { m.fault = nil })
		time.Sleep(30 * time.Second)
		if n := m.liveLeases(); n != 0 {
			t.Errorf("%d leases are left", n)
		}
	})
}

func TestUnmountedWithoutTheRight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		m.lease.ttl = time.Hour
		m.denied["revoke_lease"], m.untidy = true, true
		first, second := ask(webPod, oneCred), ask(podOf("web", "u2"), oneCred)
		r.must(t, first)
		user := r.must(t, second)["user"]
		r.Unmounted(t.Context(), first.Volume)
		time.Sleep(time.Minute)
		if !m.works(user) {
			t.Fatal("a live volume's credential is gone")
		}
		checkCount(t, m, "revoke_token", 0)
		r.Unmounted(t.Context(), second.Volume)
		time.Sleep(time.Minute)
		if n := m.liveLeases(); n != 0 {
			t.Errorf("%d leases are left", n)
		}
		if n := strings.Count(r.log.String(), "Vault does not let"); n != 1 {
			t.Errorf("told %d times: %s", n, r.log)
		}
	})
}

// TestLeasesWithoutCache: a lease stays its volume's, whatever happens to logins.
func TestLeasesWithoutCache(t *testing.T) {
	t.Parallel()
	for _, size := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			m, r := bubble(t, func(c *Config) { c.Flags.CacheSize = size })
			m.lease = terms{ttl: time.Minute, max: time.Hour, renewable: true}
			a, b := ask(webPod, oneCred), ask(podOf("api", "u2"), oneCred)
			users := map[string]bool{}
			for range 20 {
				for _, req := range []*provider.Request{a, b} {
					users[r.must(t, req)["user"]] = true
				}
				time.Sleep(30 * time.Second)
			}
			if len(users) != 2 {
				t.Errorf("size %d: two volumes had %d credentials in ten minutes", size, len(users))
			}
			if n := m.counted("login"); n > 2 {
				t.Errorf("size %d: %d logins, and nothing to read", size, n)
			}
		})
	}
}

// TestCertificates are kept until two thirds of their life.
func TestCertificates(t *testing.T) {
	t.Parallel()
	for _, flags := range []func(*Config){func(*Config) {}, func(c *Config) { c.Flags.CacheSize = 0 }, func(c *Config) { c.Flags.CacheSize = 1 }} {
		synctest.Test(t, func(t *testing.T) {
			m, r := bubble(t, flags)
			m.lease.ttl = time.Hour
			req := ask(webPod, "- {objectName: cert, secretPath: pki/issue/web, method: PUT, secretKey: certificate}")
			seen := map[string]bool{}
			for i := range 120 {
				resp := r.respond(t, req)
				seen[files(resp)["cert"]] = true
				if i == 0 && (resp.Refresh < 39*time.Minute || resp.Refresh > 41*time.Minute || time.Until(resp.Expires) > time.Hour) {
					t.Errorf("refresh in %v, expires in %v", resp.Refresh, time.Until(resp.Expires))
				}
				r.must(t, ask(podOf("other", "u2"), oneKV)) // another identity does not matter
				time.Sleep(time.Minute)
			}
			if len(seen) != 3 {
				t.Errorf("%d certificates in two hours", len(seen))
			}
		})
	}
}

// TestLeaseOverTime has a volume with a credential for minutes, in different worlds.
func TestLeaseOverTime(t *testing.T) {
	t.Parallel()
	token := terms{ttl: time.Hour, max: 24 * time.Hour, renewable: true, kind: "service"}
	for name, tt := range map[string]struct {
		login, lease terms
		denied       string
		least, most  int // credentials in 10 minutes
	}{
		"renewable":               {login: token, lease: terms{ttl: 20 * time.Second, max: time.Hour, renewable: true}, least: 1, most: 1},
		"capped":                  {login: token, lease: terms{ttl: 20 * time.Second, max: time.Minute, renewable: true}, least: 10, most: 14},
		"not renewable":           {login: token, lease: terms{ttl: time.Minute}, least: 14, most: 17},
		"renewals denied":         {login: token, lease: terms{ttl: time.Minute, max: time.Hour, renewable: true}, denied: "renew_lease", least: 8, most: 17},
		"a short token":           {login: terms{ttl: 30 * time.Second, max: time.Hour, renewable: true}, lease: terms{ttl: time.Hour}, least: 1, most: 1},
		"a short token, capped":   {login: terms{ttl: 30 * time.Second, max: time.Minute, renewable: true}, lease: terms{ttl: time.Hour}, least: 10, most: 16},
		"a batch token":           {login: terms{ttl: time.Minute, kind: "batch"}, lease: terms{ttl: time.Hour}, least: 14, most: 20},
		"token renewals denied":   {login: terms{ttl: time.Minute, max: time.Hour, renewable: true}, lease: terms{ttl: time.Hour}, denied: "renew_token", least: 14, most: 20},
		"a token for four uses":   {login: terms{ttl: time.Hour, uses: 4, renewable: true}, lease: terms{ttl: time.Minute, max: time.Hour, renewable: true}, least: 14, most: 17},
		"both short":              {login: terms{ttl: 20 * time.Second, max: time.Hour, renewable: true}, lease: terms{ttl: 20 * time.Second, max: time.Hour, renewable: true}, least: 1, most: 1},
		"a lease beyond its time": {login: token, lease: terms{ttl: time.Hour, max: time.Hour, renewable: true}, least: 1, most: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m, r := bubble(t)
				m.login, m.lease = tt.login, tt.lease
				if tt.denied != "" {
					m.denied[tt.denied] = true
				}
				req := ask(webPod, oneCred)
				if n := len(r.keepMounted(t, m, req, 10*time.Minute)); n < tt.least || n > tt.most {
					t.Errorf("%d credentials, want %d to %d", n, tt.least, tt.most)
				}
				r.Unmounted(t.Context(), req.Volume)
				time.Sleep(10 * time.Second)
				if n := m.liveLeases(); n != 0 {
					t.Errorf("%d leases are left of a pod that is gone", n)
				}
			})
		})
	}
}

// TestUpstreamDriver does not tell of unmounts: renewals stop with the mounts, and go
// on if those do.
func TestUpstreamDriver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		m.lease = terms{ttl: 20 * time.Minute, max: 24 * time.Hour, renewable: true}
		req := ask(webPod, oneCred)
		req.Tells = false
		user := r.must(t, req)["user"]
		time.Sleep(18 * time.Minute)
		if n := m.counted("renew_lease"); n != 0 {
			t.Errorf("%d renewals for a volume that nobody asks for", n)
		}
		for range 60 { // it was a long pause only
			got := r.must(t, req)["user"]
			if !m.works(got) || !m.works(user) {
				t.Fatal("the credential does not work any more")
			}
			user = got
			time.Sleep(time.Minute)
		}
		time.Sleep(3 * time.Hour)
		if n := m.liveLeases(); n != 0 {
			t.Errorf("%d leases of a volume that nobody asks for", n)
		}
		checkNothingLeft(t, r)
	})
}

// TestChildTokens: a token that a class has Vault make ends with the one that made it.
func TestChildTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, r := bubble(t)
		r.must(t, ask(webPod, "- {objectName: a, secretPath: token/create, method: POST}"))
		r.Close(t.Context())
		checkCount(t, m, "revoke_token", 0)
	})
}

// TestLongLives: what lives for years is kept for years.
func TestLongLives(t *testing.T) {
	t.Parallel()
	for _, ttl := range []time.Duration{time.Hour, 365 * 24 * time.Hour, 10 * 365 * 24 * time.Hour, 200 * 365 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			m, r := bubble(t)
			m.lease.ttl = ttl
			req := ask(webPod, "- {objectName: cert, secretPath: pki/issue/web, method: PUT, secretKey: certificate}")
			for range 3 {
				r.must(t, req)
				time.Sleep(time.Minute)
			}
			checkCount(t, m, "PUT pki/issue/web", 1)
		})
	}
}
