package vault

import (
	"flag"
	"fmt"
	"time"
)

// Flags are the settings that an operator gives on the command line.
type Flags struct {
	Address        string
	AuthMount      string
	Namespace      string
	CACert         string
	CADirectory    string
	TLSServerName  string
	TLSClientCert  string
	TLSClientKey   string
	TLSSkipVerify  bool
	HMACSecretName string
	CacheSize      int

	AllowEnvToken     bool
	AllowTokenRequest bool
	JWTSessionScope   string
	AllowedAddresses  string
	ForbidSkipVerify  bool
	TLSFilesDirectory string
	MaxStaleIfError   time.Duration
}

// Register adds the flags to set.
func (f *Flags) Register(set *flag.FlagSet) {
	set.StringVar(&f.Address, "vault-addr", "", "address of Vault; default VAULT_ADDR or https://127.0.0.1:8200")
	set.StringVar(&f.AuthMount, "vault-mount", "kubernetes", "mount of the auth method to log in with")
	set.StringVar(&f.Namespace, "vault-namespace", "", "Vault Enterprise namespace; default VAULT_NAMESPACE")
	set.StringVar(&f.CACert, "vault-tls-ca-cert", "", "file of PEM certificates to trust")
	set.StringVar(&f.CADirectory, "vault-tls-ca-directory", "", "directory of PEM certificates to trust, without a vault-tls-ca-cert")
	set.StringVar(&f.TLSServerName, "vault-tls-server-name", "", "name to expect in Vault's certificate")
	set.StringVar(&f.TLSClientCert, "vault-tls-client-cert", "", "file of the client certificate")
	set.StringVar(&f.TLSClientKey, "vault-tls-client-key", "", "file of the client certificate's key")
	set.BoolVar(&f.TLSSkipVerify, "vault-tls-skip-verify", false, "do not verify Vault's certificate")
	set.StringVar(&f.HMACSecretName, "hmac-secret-name", "vault-csi-provider-hmac-key",
		"Secret in the provider's namespace with the key of object versions, made if it is missing; empty for a key of the process")
	set.IntVar(&f.CacheSize, "cache-size", 1000, "number of identities whose logins are kept; 0: every mount logs in")
	f.registerOwn(set)
	set.Bool("debug", false, "deprecated, no effect: use log-level")
}

// registerOwn adds the flags that the existing provider does not have.
func (f *Flags) registerOwn(set *flag.FlagSet) {
	set.BoolVar(&f.AllowEnvToken, "allow-env-token", false, "read as the owner of VAULT_TOKEN on behalf of every pod")
	set.BoolVar(&f.AllowTokenRequest, "allow-token-request", false,
		"ask Kubernetes for a token of the pod if kubelet brings none for the audience; needs create on serviceaccounts/token")
	set.StringVar(&f.JWTSessionScope, "jwt-session-scope", scopePod,
		"who shares a login by jwt auth: pod, or service-account if no role binds claims of a pod")
	set.StringVar(&f.AllowedAddresses, "allowed-addresses", "",
		"patterns of the addresses that classes may name, separated by commas, as in https://*.example.com:8200; empty for all")
	set.BoolVar(&f.ForbidSkipVerify, "forbid-skip-verify", false, "refuse classes that do not verify Vault's certificate")
	set.StringVar(&f.TLSFilesDirectory, "vault-tls-files-directory", "",
		"directory in which the CA and client certificate files that classes name must be; empty for anywhere")
	set.DurationVar(&f.MaxStaleIfError, "max-stale-if-error", time.Hour,
		"the most that staleIfError of a class can be; 0 switches it off")
}

// The values of jwt-session-scope.
const (
	scopePod     = "pod"
	scopeAccount = "service-account"
)

func (f *Flags) sharesJWT() (bool, error) {
	switch f.JWTSessionScope {
	case "", scopePod:
		return false, nil
	case scopeAccount:
		return true, nil
	}
	return false, fmt.Errorf("jwt-session-scope %q: want %s or %s", f.JWTSessionScope, scopePod, scopeAccount)
}

func (f *Flags) level() level {
	l := level{
		address:   f.Address,
		namespace: f.Namespace,
		authMount: f.AuthMount,
		tls: tlsLevel{
			caFile:     f.CACert,
			caDir:      f.CADirectory,
			serverName: f.TLSServerName,
			certFile:   f.TLSClientCert,
			keyFile:    f.TLSClientKey,
		},
	}
	if f.TLSSkipVerify {
		l.tls.skipVerify = &f.TLSSkipVerify
	}
	return l
}
