package azure

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/coalesce"
)

const (
	apiServer = "kubernetes.default.svc.cluster.local"
	// clusterCA is in the container if the pod has a token, or the ConfigMap
	// kube-root-ca.crt, mounted there.
	clusterCA = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
	// lookupTimeout bounds the look at the API server's certificate.
	lookupTimeout = 10 * time.Second
)

type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// tokenProxy sends requests for tokens to the proxy of an AKS cluster instead of the
// authority. Nothing is dialled before somebody needs a token. (azure-contract 7d)
type tokenProxy struct {
	url    *url.URL
	api    string // address of the API server, whose certificate has the id of the cluster
	fixed  string // name to expect, from the operator
	caFile string
	dial   dialer

	lookups coalesce.Calls[string, string] // by CA

	mu     sync.Mutex
	name   string // that was found, "" if it was not yet
	client *http.Client
	known  trust // of client
}

// trust is what a connection to the proxy is checked against.
type trust struct {
	name string
	ca   string // PEM; "" for the system's
}

// newTokenProxy takes flags that were checked.
func newTokenProxy(f *Flags, getenv func(string) string) (*tokenProxy, error) {
	address := f.TokenProxyURL
	if address == "" {
		address = "https://" + apiServer
	}
	to, err := url.Parse(address)
	if err != nil {
		return nil, errors.New("token-proxy-url: it is not a URL")
	}
	if to.Path == "" {
		to.Path = "/" // what is joined to it shall not be relative
	}
	port := getenv("KUBERNETES_SERVICE_PORT")
	if port == "" {
		port = "443"
	}
	return &tokenProxy{
		url: to, api: net.JoinHostPort(apiServer, port), fixed: f.SNIName, caFile: clusterCA, dial: (&net.Dialer{Timeout: lookupTimeout}).DialContext,
	}, nil
}

// unfit is what only an operator can mend.
type unfit struct{ error }

// Unwrap returns what is wrong.
func (e *unfit) Unwrap() error { return e.error }

// NonRetriable is how the SDK knows.
func (*unfit) NonRetriable() {}

func unfitf(format string, args ...any) error { return &unfit{fmt.Errorf(format, args...)} }

// unsentKey is for the place in a context where it is noted why the last request got no
// answer: all that the SDK returns of that is a text.
type unsentKey struct{}

// Do implements [policy.Transporter].
func (p *tokenProxy) Do(req *http.Request) (*http.Response, error) {
	resp, err := p.send(req)
	if at, ok := req.Context().Value(unsentKey{}).(*error); ok {
		*at = err
	}
	return resp, err
}

// send keeps path, query and body of a request.
func (p *tokenProxy) send(req *http.Request) (*http.Response, error) {
	with, err := p.trust(req.Context())
	if err != nil {
		return nil, err
	}
	client, err := p.clientFor(with)
	if err != nil {
		return nil, err
	}
	out := req.WithContext(req.Context()) // a copy
	out.URL, out.Host = p.url.JoinPath(req.URL.EscapedPath()), ""
	out.URL.RawQuery = req.URL.RawQuery
	resp, err := bounded{client}.Do(out)
	if err != nil {
		p.doubt(with.name, err)
		return nil, fmt.Errorf("as %s: %w", with.name, err)
	}
	return resp, nil
}

// readCA returns "" if there is none. It may be another one each time.
func (p *tokenProxy) readCA() (string, error) {
	text, err := os.ReadFile(p.caFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", unfitf("read the CA of the cluster: %w", err)
	case len(text) == 0: // is not the same as none
		return "", unfitf("the CA of the cluster, %s, has no certificate in it", p.caFile)
	}
	return string(text), nil
}

// trust finds out whom to expect.
func (p *tokenProxy) trust(ctx context.Context) (t trust, err error) {
	if t.ca, err = p.readCA(); err != nil {
		return t, err
	}
	if t.name = p.fixed; t.name == "" {
		p.mu.Lock()
		t.name = p.name
		p.mu.Unlock()
	}
	if t.name == "" {
		t.name, _, err = p.lookups.Do(ctx, t.ca, time.Time{}, func(ctx context.Context) (string, bool, error) {
			name, failed := p.find(ctx, t.ca)
			return name, true, failed
		})
	}
	return t, err
}

// find finds the name of the proxy, and keeps it.
func (p *tokenProxy) find(ctx context.Context, ca string) (string, error) {
	p.mu.Lock()
	name := p.name
	p.mu.Unlock()
	if name != "" { // somebody was faster
		return name, nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	names, err := p.lookup(ctx, ca)
	if err != nil {
		return "", fmt.Errorf("look for its name in the certificate of the API server at %s: %w", p.api, err)
	}
	id := clusterID(names)
	if id == "" {
		return "", unfitf("the certificate of the API server at %s has no name like hcp-kubernetes.ID.svc.cluster.local: useAzureTokenProxy "+
			"works in AKS only, with identity bindings; or give the flag sni-name of provider-azure", p.api)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.name = proxyName(id)
	return p.name, nil
}

// lookup returns the names in the certificate of the API server.
func (p *tokenProxy) lookup(ctx context.Context, ca string) ([]string, error) {
	config, err := p.config(trust{apiServer, ca})
	if err != nil {
		return nil, err
	}
	raw, err := p.dial(ctx, "tcp", p.api)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	defer func() { _ = conn.Close() }() // nothing is sent
	if err = conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates[0].DNSNames, nil
}

// clusterID is in the first name of the form that AKS gives.
func clusterID(names []string) string {
	for _, name := range names {
		id, begins := strings.CutPrefix(name, "hcp-kubernetes.")
		id, ends := strings.CutSuffix(id, ".svc.cluster.local")
		if begins && ends && id != "" && !strings.Contains(id, ".") {
			return id
		}
	}
	return ""
}

// proxyName is what AKS calls the proxy of the cluster with this id. (azure-contract 7.12)
func proxyName(id string) string {
	sum := sha256.Sum256([]byte("identity-binding" + id))
	return strings.ToLower("a"+base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])) + ".ests.aks"
}

// doubt drops a name that was found if the proxy does not have it.
func (p *tokenProxy) doubt(name string, err error) {
	_, other := errors.AsType[x509.HostnameError](err)
	if !other && !strings.Contains(err.Error(), "tls: unrecognized name") {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.name == name {
		p.name = ""
	}
}

// clientFor is the same as long as the trust is.
func (p *tokenProxy) clientFor(t trust) (*http.Client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client != nil && p.known == t {
		return p.client, nil
	}
	config, err := p.config(t)
	if err != nil {
		return nil, err
	}
	if p.client != nil {
		p.client.CloseIdleConnections()
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // nothing replaces it
	transport.TLSClientConfig, transport.DialContext = config, p.dial
	transport.MaxResponseHeaderBytes = 64 << 10
	if p.url.Hostname() == apiServer { // which no HTTP proxy knows
		transport.Proxy = nil
	}
	p.known, p.client = t, &http.Client{
		Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return p.client, nil
}

func (p *tokenProxy) config(t trust) (*tls.Config, error) {
	config := &tls.Config{ServerName: t.name, MinVersion: tls.VersionTLS12}
	if t.ca == "" {
		return config, nil
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM([]byte(t.ca)) {
		return nil, unfitf("the CA of the cluster, %s, has no certificate in it", p.caFile)
	}
	return config, nil
}

// proxyCredential says what the proxy has to do with an error.
type proxyCredential struct {
	azcore.TokenCredential

	proxy *tokenProxy
}

// GetToken implements [azcore.TokenCredential].
func (c *proxyCredential) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	var unsent error
	t, err := c.TokenCredential.GetToken(context.WithValue(ctx, unsentKey{}, &unsent), options)
	if err == nil {
		return t, nil
	}
	d := explainProxy(err, unsent)
	d.text = "token proxy " + c.proxy.url.String() + ": " + d.text
	return t, d.failure()
}

// explainProxy says what an error means; unsent is set if there was no answer.
func explainProxy(err, unsent error) diagnosis {
	login, answered := errors.AsType[*azidentity.AuthenticationFailedError](err)
	switch _, final := errors.AsType[*unfit](unsent); {
	case final:
		return diagnosis{kind: provider.Invalid, text: oneLine(unsent.Error())}
	case unsent != nil:
		return explainUnsent(unsent)
	case answered && login.RawResponse != nil && login.RawResponse.StatusCode == http.StatusForbidden:
		d := explain(err)
		d.text += ": bind the identity to the cluster (az aks identity-binding), and let a ClusterRole give the pod's service account the verb " +
			"use-managed-identity on its client id as a resource of the API group cid.wi.aks.azure.com"
		return d
	}
	return explain(err)
}

func explainUnsent(err error) diagnosis {
	d := diagnosis{kind: provider.Unavailable, text: oneLine(err.Error())}
	if errors.Is(err, context.DeadlineExceeded) {
		d.kind = provider.Timeout
	}
	d.outage = !isTrust(d.text)
	switch {
	case !d.outage:
		d.text += ": its certificate must be from the cluster's CA, which is to be in " + clusterCA + " of the provider's container " +
			"(mount kube-root-ca.crt), and have the name that AKS gives it, or the one in sni-name"
	case strings.Contains(d.text, "no such host"):
		d.text += ": the provider needs the DNS of the cluster (dnsPolicy ClusterFirstWithHostNet)"
	default:
		d.text += ": does this cluster have identity bindings, and do the flags token-proxy-url and sni-name fit?"
	}
	return d
}
