package azure

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/provider"
)

const (
	clusterOne = "0123456789abcdef01234567"
	clusterTwo = "fedcba9876543210fedcba98"
)

// asBound is a pod whose identity is bound to the cluster.
func (g *ground) asBound(t *testing.T, req *provider.Request) *provider.Request {
	t.Helper()
	req.Parameters["useAzureTokenProxy"], req.Parameters["clientID"] = "true", workload
	req.Tokens = provider.Tokens{bindingAudience: g.tokenFor(t, bindingAudience, req.Pod, 2*time.Hour)}
	return req
}

func (g *ground) writeCA(t *testing.T, text []byte) {
	t.Helper()
	if err := os.WriteFile(g.proxy.caFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func (g *ground) changeCluster(t *testing.T, change func(*cloud.Cluster)) {
	t.Helper()
	if err := g.Change(func(s *cloud.State) error {
		change(&s.Cluster)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestProxyName(t *testing.T) {
	t.Parallel()
	const want = "adjohu9u1dlsmhjkfb9rc27r2rl3iuv7jlrjrafk5ic3sov52hu8g.ests.aks" // (azure-contract 7.13)
	if got := proxyName(clusterOne); got != want {
		t.Errorf("got %s", got)
	}
}

func TestProxyFlags(t *testing.T) {
	t.Parallel()
	env := map[string]string{"KUBERNETES_SERVICE_PORT": "6443"}
	for name, tt := range map[string]struct {
		flags    Flags
		env      map[string]string
		url, api string
		direct   bool // whatever HTTPS_PROXY says
	}{
		"default":      {url: "https://" + apiServer + "/", api: apiServer + ":443", direct: true},
		"another port": {env: env, url: "https://" + apiServer + "/", api: apiServer + ":6443", direct: true},
		"address":      {flags: Flags{TokenProxyURL: "https://proxy.test:1/a"}, url: "https://proxy.test:1/a", api: apiServer + ":443"},
		"in the cluster": {
			flags: Flags{TokenProxyURL: "https://" + apiServer + ":6443/a/"}, url: "https://" + apiServer + ":6443/a/", api: apiServer + ":443", direct: true,
		},
	} {
		p, err := newTokenProxy(&tt.flags, func(name string) string { return tt.env[name] })
		if err != nil {
			t.Fatal(err)
		}
		client, err := p.clientFor(trust{name: "a.test"})
		if err != nil {
			t.Fatal(err)
		}
		transport, ok := client.Transport.(*http.Transport)
		if !ok || p.url.String() != tt.url || p.api != tt.api || (transport.Proxy == nil) != tt.direct || p.caFile != clusterCA {
			t.Errorf("%s: %+v", name, p)
		}
	}
}

func TestClusterID(t *testing.T) {
	t.Parallel()
	for want, names := range map[string][]string{
		"one":   {apiServer, "hcp-kubernetes.one.svc.cluster.local", "hcp-kubernetes.two.svc.cluster.local"},
		"two":   {"hcp-kubernetes.a.b.svc.cluster.local", "hcp-kubernetes..svc.cluster.local", "hcp-kubernetes.two.svc.cluster.local"},
		"three": {"hcp-kubernetes.one.svc.cluster.test", "x.hcp-kubernetes.two.svc.cluster.local", "hcp-kubernetes.three.svc.cluster.local"},
		"":      {apiServer, "hcp-kubernetes.svc.cluster.local"},
	} {
		if got := clusterID(names); got != want {
			t.Errorf("%q: got %q", names, got)
		}
	}
}

type proxyCase struct {
	change func(*testing.T, *ground)
	kind   provider.Kind // of the error
	says   []string      // in it; nil if there is none
}

const proxyAddress = "token proxy https://" + apiServer + "/: "

// proxyCases are those in which the proxy can be asked.
func proxyCases() map[string]proxyCase {
	return map[string]proxyCase{
		"by default": {},
		"another address, with a path": {change: func(t *testing.T, g *ground) {
			g.proxy.url = &url.URL{Scheme: "https", Host: cloud.TokenProxy, Path: "/to/ken/"}
			g.changeCluster(t, func(c *cloud.Cluster) { c.Prefix = "/to/ken" })
		}},
		"another name": {change: func(t *testing.T, g *ground) {
			g.proxy.fixed = cloud.TokenProxy
			g.changeCluster(t, func(c *cloud.Cluster) { c.ID, c.Name = "", cloud.TokenProxy })
		}},
		"no right": {
			change: func(t *testing.T, g *ground) { g.changeCluster(t, func(c *cloud.Cluster) { c.Bindings = nil }) },
			kind:   provider.Denied, says: []string{proxyAddress, " 403 forbidden", "use-managed-identity on its client id", "cid.wi.aks.azure.com"},
		},
		"Azure refuses": {
			change: func(_ *testing.T, g *ground) {
				g.AddFault(cloud.Fault{Where: "proxy", Status: 400, Code: "invalid_client", Message: "AADSTS700016: no such application"})
			},
			kind: provider.Denied, says: []string{proxyAddress, "AADSTS700016", "check clientID"},
		},
		"503": {
			change: func(_ *testing.T, g *ground) { g.AddFault(cloud.Fault{Where: "proxy", Status: 503}) },
			kind:   provider.Unavailable, says: []string{proxyAddress, " 503"},
		},
		"nobody answers": {
			change: func(_ *testing.T, g *ground) { g.AddFault(cloud.Fault{Where: "proxy", Hang: true}) },
			kind:   provider.Timeout, says: []string{"context deadline exceeded"},
		},
	}
}

// unreached are those in which it cannot.
func unreached() map[string]proxyCase {
	down := func(err error) func(*testing.T, *ground) {
		return func(_ *testing.T, g *ground) {
			g.proxy.dial = func(_ context.Context, network, _ string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: network, Err: err}
			}
		}
	}
	return map[string]proxyCase{
		"not AKS": {
			change: func(t *testing.T, g *ground) { g.changeCluster(t, func(c *cloud.Cluster) { c.ID = "" }) },
			kind:   provider.Invalid, says: []string{proxyAddress, "no name like hcp-kubernetes.", "sni-name"},
		},
		"no CA": {
			change: func(t *testing.T, g *ground) { g.proxy.caFile = filepath.Join(t.TempDir(), "none") },
			kind:   provider.Unavailable, says: []string{proxyAddress, "x509: certificate signed by unknown authority", clusterCA},
		},
		"no CA, but a name": {
			change: func(t *testing.T, g *ground) {
				g.proxy.caFile, g.proxy.fixed = filepath.Join(t.TempDir(), "none"), proxyName(clusterOne)
			},
			kind: provider.Unavailable, says: []string{proxyAddress, "x509: certificate signed by unknown authority", clusterCA},
		},
		"a CA that is none": {
			change: func(t *testing.T, g *ground) { g.writeCA(t, []byte("none")) },
			kind:   provider.Invalid, says: []string{proxyAddress, "ca.crt, has no certificate in it"},
		},
		"an empty CA": {
			change: func(t *testing.T, g *ground) { g.writeCA(t, nil) },
			kind:   provider.Invalid, says: []string{proxyAddress, "ca.crt, has no certificate in it"},
		},
		"a CA that cannot be read": {
			change: func(t *testing.T, g *ground) { g.proxy.caFile = t.TempDir() },
			kind:   provider.Invalid, says: []string{proxyAddress, "read the CA of the cluster"},
		},
		"nobody there": {
			change: down(syscall.ECONNREFUSED), kind: provider.Unavailable, says: []string{proxyAddress, "connection refused", "identity bindings"},
		},
		"no name server": {
			change: down(&net.DNSError{Err: "no such host", Name: apiServer, IsNotFound: true}),
			kind:   provider.Unavailable, says: []string{proxyAddress, "no such host", "ClusterFirstWithHostNet"},
		},
		"a name that nobody has": {
			change: func(_ *testing.T, g *ground) { g.proxy.fixed = "other.ests.aks" },
			kind:   provider.Unavailable, says: []string{proxyAddress, "not other.ests.aks", "sni-name"},
		},
	}
}

// (azure-contract 17.19)
func TestTokenProxy(t *testing.T) {
	t.Parallel()
	cases := proxyCases()
	maps.Copy(cases, unreached())
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				g := newBubble(t)
				g.put(t, "db", "v1")
				if tt.change != nil {
					tt.change(t, g)
				}
				// Nobody may ask the authority, which would not take the token.
				g.AddFault(cloud.Fault{Where: "authority", Status: 418})
				g.AddFault(cloud.Fault{Where: "discovery", Status: 418})
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Second) // as the driver does
				defer cancel()
				req := g.asBound(t, ask(podOf("u1"), oneSecret))
				_, err := g.Mount(ctx, req)
				if (err == nil) != (tt.says == nil) {
					t.Fatal(err)
				}
				if err != nil {
					tt.check(t, err, string(req.Tokens[bindingAudience].Value))
				}
				if c := g.Counters(); len(c.Tokens)+len(c.Refused) > 0 || err == nil && c.ProxyTokens[workload] != 1 {
					t.Errorf("%+v", c)
				}
			})
		})
	}
}

func (tt proxyCase) check(t *testing.T, err error, token string) {
	t.Helper()
	if kind := provider.KindOf(err); kind != tt.kind {
		t.Errorf("%v: %v", kind, err)
	}
	for _, text := range append(tt.says, "as AzureTokenProxy with client id "+workload) {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("the error does not say %q: %v", text, err)
		}
	}
	if strings.Contains(err.Error(), token) {
		t.Error("the error has the token")
	}
}

// Nothing is dialled before a class wants that, and what was not there is found later.
func TestProxyComesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := newBubble(t)
		g.put(t, "db", "v1")
		var dials atomic.Int32
		up := g.proxy.dial
		g.proxy.dial = func(_ context.Context, network, _ string) (net.Conn, error) {
			dials.Add(1)
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		g.must(t, g.asWorkload(t, ask(podOf("u0"), oneSecret)))
		if n := dials.Load(); n > 0 {
			t.Errorf("%d connections that nobody needs", n)
		}
		req := g.asBound(t, ask(podOf("u1"), oneSecret))
		if _, err := g.Mount(t.Context(), req); provider.KindOf(err) != provider.Unavailable || dials.Load() == 0 {
			t.Errorf("%d connections: %v", dials.Load(), err)
		}
		g.proxy.dial = up
		g.must(t, req)
		if c := g.Counters(); c.Lookups != 1 || c.ProxyTokens[workload] != 1 {
			t.Errorf("%+v", c)
		}
	})
}

// The control plane can move, and the CA be renewed.
func TestProxyMoves(t *testing.T) {
	t.Parallel()
	for _, strict := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			g := newBubble(t)
			g.put(t, "db", "v1")
			next := func(what string, lookups int) {
				t.Helper()
				g.ClearCounters()
				g.must(t, g.asBound(t, ask(podOf("u1"), oneSecret)))
				if c := g.Counters(); c.Lookups != lookups || c.ProxyTokens[workload] != 1 || len(c.ProxyRefused) > 0 {
					t.Errorf("%s: %+v", what, c)
				}
				time.Sleep(65 * time.Minute) // connections and token end
			}
			next("first", 1)
			next("as before", 0)
			g.changeCluster(t, func(c *cloud.Cluster) { c.ID, c.Strict = clusterTwo, strict })
			next("moved", 1)
			if err := g.RenewClusterCA(); err != nil {
				t.Fatal(err)
			}
			g.writeCA(t, g.ClusterCA())
			next("another CA", 0)
		})
	}
}

// What the proxy gets is what the authority would.
func TestProxyKeepsRequests(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.proxy.url = &url.URL{Scheme: "https", Host: cloud.TokenProxy, Path: "/to/ken"}
	g.changeCluster(t, func(c *cloud.Cluster) { c.Prefix = "/to/ken" })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.Authority()+"a%2Fb%20c/oauth2?x=1&y=%26", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := g.proxy.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err = resp.Body.Close(); err != nil {
		t.Error(err)
	}
	seen := g.Violations()
	g.ClearViolations()
	const want = "GET " + cloud.TokenProxy + "/to/ken/a%2Fb%20c/oauth2?x=1&y=%26"
	if len(seen) != 1 || seen[0].Request != want {
		t.Errorf("got %v, want %s", seen, want)
	}
}

// TestBoundPods: pods of one service account share one token, all look once for the
// proxy's name, and who asks the authority itself with the same client id is another.
func TestBoundPods(t *testing.T) {
	t.Parallel()
	g := newGround(t)
	g.put(t, "db", "v1")
	if err := g.SetApplication(tenant, cloud.Application{ClientID: principal}); err != nil {
		t.Fatal(err)
	}
	g.changeCluster(t, func(c *cloud.Cluster) {
		c.Bindings = append(c.Bindings, cloud.Binding{ClientID: principal, Subject: "system:serviceaccount:shop:web"})
	})
	var pods sync.WaitGroup
	for i := range 60 {
		req := ask(podOf(fmt.Sprint(i)), oneSecret)
		switch i % 3 {
		case 0:
			g.asBound(t, req)
		case 1:
			g.asBound(t, req).Parameters["clientID"] = principal
		case 2:
			g.asWorkload(t, req)
		}
		pods.Go(func() {
			if _, err := g.Mount(t.Context(), req); err != nil {
				t.Error(err)
			}
		})
	}
	pods.Wait()
	g.checkBound(t)
}

func (g *ground) checkBound(t *testing.T) {
	t.Helper()
	c := g.Counters()
	if diff := cmp.Diff(map[string]int{workload: 1, principal: 1}, c.ProxyTokens); diff != "" || c.Lookups != 1 || c.Tokens[workload] != 1 {
		t.Errorf("%+v", c)
	}
	if n := g.countSessions(); n != 3 {
		t.Errorf("%d sessions", n)
	}
	// A token for the authority is none for the proxy.
	req := g.asWorkload(t, ask(podOf("x"), oneSecret))
	req.Parameters["useAzureTokenProxy"] = "true"
	if _, err := g.Mount(t.Context(), req); provider.KindOf(err) != provider.Invalid || !strings.Contains(err.Error(), bindingAudience) {
		t.Error(err)
	}
}
