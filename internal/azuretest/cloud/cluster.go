package cloud

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/base32"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/azuretest/material"
)

const (
	// APIServer is the name of the cluster's API server within it. Its token proxy has
	// the same address; the name that a client greets with decides.
	APIServer = "kubernetes.default.svc.cluster.local"
	// TokenProxy is another address of both.
	TokenProxy = "proxy.aks.test"

	binding = "api://AKSIdentityBinding"
)

// Cluster is an AKS cluster whose token proxy asks the authority in a pod's place.
type Cluster struct {
	// ID is in a name of the API server's certificate, hcp-kubernetes.ID.svc.cluster.local;
	// a cluster that is not AKS has none.
	ID string `json:"id,omitempty"`
	// Name is that of the proxy's certificate; the one that AKS makes of ID if it is empty.
	Name string `json:"name,omitempty"`
	// Prefix is what paths at the proxy begin with, as in /token.
	Prefix string `json:"prefix,omitempty"`
	// Strict refuses who greets a proxy that is not there; else the API server answers.
	Strict   bool      `json:"strict,omitempty"`
	Bindings []Binding `json:"bindings,omitempty"`
}

// Binding says who has the right to use-managed-identity of an identity.
type Binding struct {
	ClientID string `json:"clientID"`
	// Subject is as in system:serviceaccount:NAMESPACE:NAME.
	Subject string `json:"subject"`
}

// proxyName is what the proxy of a cluster is called.
func (c *Cluster) proxyName() string {
	if c.Name != "" || c.ID == "" {
		return c.Name
	}
	sum := sha256.Sum256([]byte("identity-binding" + c.ID))
	return strings.ToLower("a"+base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])) + ".ests.aks"
}

// ClusterCA is the certificate that clients within the cluster must trust, as PEM.
func (c *Cloud) ClusterCA() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.clusterCA.PEM()
}

// RenewClusterCA gives the cluster another CA.
func (c *Cloud) RenewClusterCA() error {
	ca, err := material.NewCA("cluster of the tests")
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clusterCA = ca
	return nil
}

// clusterCertificate is the proxy's for who greets it, and the API server's for others.
func (c *Cloud) clusterCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	ca, cluster := c.clusterCA, c.state.Cluster
	proxy := hello.ServerName != "" && hello.ServerName == cluster.proxyName()
	if hello.ServerName == APIServer {
		c.tally.Lookups++
	}
	c.mu.Unlock()
	names := []string{APIServer, "kubernetes.default.svc", "kubernetes.default", "kubernetes"}
	switch {
	case proxy:
		names = []string{cluster.proxyName()}
	case cluster.Strict && hello.ServerName != APIServer:
		return nil, nil // the client hears: unrecognized name
	case hello.ServerName != APIServer && !strings.HasSuffix(hello.ServerName, ".ests.aks"):
		c.note("connect "+hello.ServerName, "nobody in the cluster has this name")
	}
	if !proxy && cluster.ID != "" {
		names = append(names, "hcp-kubernetes."+cluster.ID+".svc.cluster.local")
	}
	certificate, err := ca.Server(names...)
	return &certificate, err
}

// proxyHandler answers as the token proxy does: it passes on what is for the authority,
// and has its own idea of who may be whom.
func (c *Cloud) proxyHandler() http.Handler {
	through := door{discovery: "proxy-discovery", tokens: "proxy", proves: c.bound, count: func(client string, given bool) {
		c.mu.Lock()
		defer c.mu.Unlock()
		oneMore(c.tally.ProxyTokens, c.tally.ProxyRefused, client, given)
	}}
	return c.logged(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		cluster := c.state.Cluster
		c.mu.Unlock()
		host, _, _ := strings.Cut(r.Host, ":")
		path, ok := strings.CutPrefix(r.URL.Path, cluster.Prefix)
		switch {
		case r.TLS.ServerName != cluster.proxyName():
			c.violate(w, r, "a request for the API server")
		case host != APIServer && host != TokenProxy:
			c.violate(w, r, "this host belongs to nobody in the cluster")
		case !ok:
			c.violate(w, r, "unknown path of the token proxy")
		default:
			c.authority(w, r, path, through)
		}
	})
}

// bound judges the token of a pod for the proxy.
func (c *Cloud) bound(app *Application, field form) *refusal {
	told, err := read(field("client_assertion"))
	switch {
	case field("client_secret") != "", field("client_assertion_type") != assertionType, err != nil:
		return deny(0, "invalid_request", "there is no assertion that can be read")
	case !slices.Contains(told.Audience, binding):
		return deny(0, "unauthorized", "the token has audience %s", fmt.Sprint(told.Audience)).as(http.StatusUnauthorized)
	case !slices.ContainsFunc(c.state.Cluster.Bindings, func(b Binding) bool {
		return strings.EqualFold(b.ClientID, app.ClientID) && b.Subject == told.Subject
	}):
		return deny(0, "forbidden", "%s may not use-managed-identity %s", told.Subject, app.ClientID).as(http.StatusForbidden)
	}
	return c.genuine(told, field("client_assertion"))
}
