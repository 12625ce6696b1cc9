package vault

import (
	"fmt"
	"strconv"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/vaultclass"
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

func (s *tlsSettings) overlay(l tlsLevel) {
	if l.caFile != "" || l.caBytes != "" || l.caDir != "" {
		s.caFile, s.caBytes, s.caDir = l.caFile, l.caBytes, l.caDir
	}
	if l.certFile != "" || l.keyFile != "" {
		s.certFile, s.keyFile = l.certFile, l.keyFile
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
	return level{
		address:   c.Address,
		namespace: c.Namespace,
		authMount: c.AuthMount,
		tls: tlsLevel{
			caFile:     c.TLS.CACert,
			caDir:      c.TLS.CADirectory,
			serverName: c.TLS.ServerName,
			certFile:   c.TLS.ClientCert,
			keyFile:    c.TLS.ClientKey,
			skipVerify: c.TLS.SkipVerify,
		},
	}
}
