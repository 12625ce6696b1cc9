package vault

import (
	"fmt"
	"strconv"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
)

// level is what one source says: the environment, the flags or a class. Empty
// means that it says nothing.
type level struct {
	address   string
	namespace string
	authMount string
	tls       tlsLevel
}

type tlsLevel struct {
	caFile     string
	caBytes    string
	caDir      string
	serverName string
	certFile   string
	keyFile    string
	skipVerify *bool
	confined   bool // whose files must be where the operator allows it
	certPEM    string
	keyPEM     provider.Secret
}

// settings are the levels laid over each other.
type settings struct {
	address   string
	namespace string
	authMount string
	tls       tlsSettings
}

// tlsSettings are comparable, so that a test can see that every one counts.
type tlsSettings struct {
	caFile     string
	caBytes    string
	caDir      string
	serverName string
	certFile   string
	keyFile    string
	skipVerify bool
	// The files below come from a class, and must be where the operator allows it.
	caConfined, certConfined bool
	// certPEM and keyPEM are a client certificate that is no file.
	certPEM string
	keyPEM  provider.Secret
}

// resolve lays levels over each other, the last one on top.
func resolve(levels ...level) settings {
	s := settings{address: api.DefaultAddress, authMount: "kubernetes"}
	for _, l := range levels {
		over(&s.address, l.address)
		over(&s.namespace, l.namespace)
		over(&s.authMount, l.authMount)
		s.tls.overlay(l.tls)
	}
	return s
}

// shownAddress is the address without what must not be shown.
func (s *settings) shownAddress() string { return origin(s.address) }

func (s *tlsSettings) overlay(l tlsLevel) {
	if l.caFile != "" || l.caBytes != "" || l.caDir != "" {
		s.caFile, s.caBytes, s.caDir, s.caConfined = l.caFile, l.caBytes, l.caDir, l.confined
	}
	if l.certFile != "" || l.keyFile != "" {
		s.certFile, s.keyFile, s.certConfined = l.certFile, l.keyFile, l.confined
	}
	if l.certPEM != "" {
		s.certPEM, s.keyPEM = l.certPEM, l.keyPEM
	}
	over(&s.serverName, l.serverName)
	if l.skipVerify != nil {
		s.skipVerify = *l.skipVerify
	}
}

func over(to *string, from string) {
	if from != "" {
		*to = from
	}
}

// check says what an operator must mend; classes are checked by their parser.
func (l *level) check() error {
	if l.address != "" {
		if err := vaultclass.CheckAddress(l.address); err != nil {
			return fmt.Errorf("vault address: %w", err)
		}
	}
	if l.authMount != "" {
		if _, err := vaultclass.LoginPath(l.authMount); err != nil {
			return fmt.Errorf("vault auth mount: %w", err)
		}
	}
	if (l.tls.certFile == "") != (l.tls.keyFile == "") {
		return fmt.Errorf("vault client certificate and key belong together: give both or neither")
	}
	return nil
}

func envLevel(getenv func(string) string) (level, error) {
	l := level{
		address:   getenv(api.EnvVaultAddress),
		namespace: getenv(api.EnvVaultNamespace),
		tls: tlsLevel{
			caFile:     getenv(api.EnvVaultCACert),
			caBytes:    getenv(api.EnvVaultCACertBytes),
			caDir:      getenv(api.EnvVaultCAPath),
			serverName: getenv(api.EnvVaultTLSServerName),
			certFile:   getenv(api.EnvVaultClientCert),
			keyFile:    getenv(api.EnvVaultClientKey),
		},
	}
	if text := getenv(api.EnvVaultSkipVerify); text != "" {
		skip, err := strconv.ParseBool(text)
		if err != nil {
			return level{}, fmt.Errorf("%s is not true or false", api.EnvVaultSkipVerify)
		}
		l.tls.skipVerify = &skip
	}
	return l, l.check()
}

func classLevel(c *vaultclass.Class) level {
	mount := c.AuthMount
	if mount == "" && c.AuthMethod != vaultclass.Kubernetes {
		mount = c.AuthMethod // what the operator says is of the default method
	}
	return level{
		address:   c.Address,
		namespace: c.Namespace,
		authMount: mount,
		tls: tlsLevel{
			caFile:     c.TLS.CACert,
			caDir:      c.TLS.CADirectory,
			serverName: c.TLS.ServerName,
			certFile:   c.TLS.ClientCert,
			keyFile:    c.TLS.ClientKey,
			skipVerify: c.TLS.SkipVerify,
			confined:   true,
		},
	}
}
