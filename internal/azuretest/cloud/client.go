package cloud

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// MetadataAddress is where a virtual machine finds its metadata endpoint.
const MetadataAddress = "169.254.169.254:80"

// Stack is the definition of this cloud, for the JSON file of an AzureStackCloud.
func (c *Cloud) Stack() map[string]any {
	return map[string]any{
		"name":                    "AzureStackCloud",
		"activeDirectoryEndpoint": c.Authority(),
		"keyVaultEndpoint":        c.Resource() + "/",
		"keyVaultDNSSuffix":       strings.TrimPrefix(c.Resource(), "https://"),
		"resourceIdentifiers":     map[string]string{"keyVault": c.Resource()},
	}
}

// Addresses are where the listeners of a cloud in this process are.
type Addresses struct{ TLS, Cluster, Metadata, NMI string }

// Transport reaches this cloud without a name server and trusts its CA. A connection to
// anything else fails and is a violation.
func (c *Cloud) Transport(at Addresses) (*http.Transport, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(c.CA()) {
		return nil, fmt.Errorf("the CA of the cloud cannot be read")
	}
	return &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return c.dial(ctx, at, network, address)
		},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 100,
	}, nil
}

func (c *Cloud) dial(ctx context.Context, at Addresses, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	var to string
	switch {
	case c.owns(host) && port == strconv.Itoa(c.config.Port):
		to = at.TLS
	case host == APIServer, host == TokenProxy:
		to = at.Cluster
	case address == MetadataAddress:
		to = at.Metadata
	case address == NMIAddress:
		to = at.NMI
	}
	if to == "" {
		c.note("dial "+address, "this address does not belong to the cloud")
		return nil, fmt.Errorf("dial %s: it does not belong to the cloud", address)
	}
	var dialer net.Dialer
	return dialer.DialContext(ctx, network, to)
}
