package cloudtest_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
)

// This is the name of the proxy in a cluster with the id 0123456789abcdef01234567.
const proxyName = "adjohu9u1dlsmhjkfb9rc27r2rl3iuv7jlrjrafk5ic3sov52hu8g.ests.aks"

// startCluster is one in which the subject may be the workload, and has a pod.
func startCluster(t *testing.T) *ground {
	t.Helper()
	g := start(t)
	if err := g.Change(func(s *cloud.State) error {
		s.Cluster = cloud.Cluster{ID: "0123456789abcdef01234567", Prefix: "/sts", Bindings: []cloud.Binding{{ClientID: workload, Subject: subject}}}
		s.Pods = []cloud.Pod{{Namespace: "shop", Name: "web-1", ClientID: assigned}}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return g
}

// within is a client that greets the cluster with a name.
func (g *ground) within(t *testing.T, name string) *http.Client {
	t.Helper()
	transport := g.Transport.Clone()
	t.Cleanup(transport.CloseIdleConnections)
	transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: name, MinVersion: tls.VersionTLS12}
	if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(g.ClusterCA()) {
		t.Fatal("the CA of the cluster cannot be read")
	}
	return &http.Client{Transport: transport}
}

func answer(t *testing.T, client *http.Client, r *http.Request) (status int, body string) {
	t.Helper()
	response, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }() // only read
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestTokenProxy(t *testing.T) {
	g := startCluster(t)
	bound := func(c map[string]any) { c["aud"] = []string{"api://AKSIdentityBinding"} }
	for name, c := range map[string]struct {
		greets, path, client string
		change               func(map[string]any)
		status               int
		violation            string
	}{
		"as agreed":        {change: bound, status: 200},
		"another audience": {status: 401},
		"no right": {
			change: func(c map[string]any) { bound(c); c["sub"] = "system:serviceaccount:shop:db" }, status: 403,
		},
		"no binding":       {client: principal, change: bound, status: 403},
		"expired":          {change: func(c map[string]any) { bound(c); c["exp"] = 1 }, status: 401},
		"the API server":   {greets: cloud.APIServer, change: bound, status: 500, violation: "a request for the API server"},
		"another path":     {path: "/" + tenant + "/oauth2/v2.0/token", change: bound, status: 500, violation: "unknown path of the token proxy"},
		"not AAD's path":   {path: "/sts/secrets/db", change: bound, status: 500, violation: "unknown path of the authority"},
		"a path elsewhere": {path: "/sts/discovery/instance", change: bound, status: 500, violation: "unknown path of the authority"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.greets == "" {
				c.greets = proxyName
			}
			if c.path == "" {
				c.path = "/sts/" + tenant + "/oauth2/v2.0/token"
			}
			if c.client == "" {
				c.client = workload
			}
			form := url.Values{
				"grant_type": {"client_credentials"}, "client_id": {c.client}, "scope": {g.Resource() + "/.default"},
				"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {g.assertion(t, c.change)},
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+cloud.TokenProxy+c.path, strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if status, body := answer(t, g.within(t, c.greets), r); status != c.status {
				t.Errorf("%d %s, want %d", status, body, c.status)
			}
			g.expect(t, c.violation)
		})
	}
	want := map[string]int{workload: 1}
	if c := g.Counters(); !cmp.Equal(c.ProxyTokens, want) || len(c.Tokens) > 0 || c.ProxyRefused[workload] != 3 || c.ProxyRefused[principal] != 1 || c.Lookups != 1 {
		t.Errorf("%+v", c)
	}
}

// expect looks for one violation, or none.
func (g *ground) expect(t *testing.T, reason string) {
	t.Helper()
	violations := g.Violations()
	g.ClearViolations()
	if reason == "" && len(violations) == 0 {
		return
	}
	if len(violations) != 1 || violations[0].Reason != reason {
		t.Errorf("violations: %v, want %q", violations, reason)
	}
}

func TestNMI(t *testing.T) {
	g := startCluster(t)
	good := "?resource=" + url.QueryEscape(g.Resource())
	for name, c := range map[string]struct {
		path, pod, header, says, violation string
		status                             int
	}{
		"as agreed":        {path: "/host/token/" + good, pod: "web-1", status: 200, says: `"clientid":"` + assigned + `"`},
		"another pod":      {path: "/host/token/" + good, pod: "web-2", status: 404, says: "no AzureAssignedIdentity found for pod:shop/web-2"},
		"another resource": {path: "/host/token/?resource=https://vault.azure.net", pod: "web-1", status: 403},
		"another path":     {path: "/host/token" + good, pod: "web-1", status: 500, violation: "unknown path of the NMI"},
		"a parameter":      {path: "/host/token/" + good + "&x=1", pod: "web-1", status: 500, violation: `unknown parameter "x"`},
		"a header":         {path: "/host/token/" + good, pod: "web-1", header: "Metadata", status: 500, violation: "unknown header Metadata"},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+cloud.NMIAddress+c.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("podname", c.pod)
			r.Header.Set("podns", "shop")
			if c.header != "" {
				r.Header.Set(c.header, "true")
			}
			if status, body := answer(t, g.Client(), r); status != c.status || !strings.Contains(body, c.says) {
				t.Errorf("%d %s, want %d", status, body, c.status)
			}
			g.expect(t, c.violation)
		})
	}
	if c := g.Counters(); c.NMITokens["shop/web-1"] != 1 || c.NMIRefused["shop/web-1"] != 1 || c.NMIRefused["shop/web-2"] != 1 {
		t.Errorf("%+v", c)
	}
}
