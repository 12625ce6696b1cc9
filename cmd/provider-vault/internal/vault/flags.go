package vault

import "flag"

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
		"name of the Secret with the key of object versions (accepted; versions use a key of the process)")
	set.IntVar(&f.CacheSize, "cache-size", 1000, "number of logins to keep (accepted; none is kept)")
	set.Bool("debug", false, "deprecated, no effect: use log-level")
	set.String("output", "json", "accepted, no effect")
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
