package vaultclass

// Setting is one thing that a class can say, for those who write classes.
type Setting struct {
	Name    string
	Default string // "" if there is none
	Meaning string // Markdown, one line
}

// Parameters are the parameters of a class, in the order in which one meets them.
func Parameters() []Setting {
	const ofProvider = "the provider's"
	return []Setting{
		{paramRole, "", "the Vault role to log in with; required for `kubernetes` and `jwt`, the certificate role for `cert`, not used for `approle`"},
		{paramObjects, "", "a YAML list of what to mount, see below; required"},
		{paramAuthMethod, "`" + Kubernetes + "`", "`kubernetes`, `jwt`, `approle` or `cert`"},
		{
			paramAuthMount, "`--vault-mount` for `kubernetes`, else the method's name",
			"where the auth method is mounted in Vault, without `auth/`",
		},
		{paramAuthMountOld, "", "an older name of `vaultAuthMountPath`; both together are an error"},
		{paramAudience, "`vault`", "audience of the pod's token; must be in `spec.tokenRequests` of the CSIDriver"},
		{paramAddress, ofProvider, "`https://HOST:PORT`, `http://HOST:PORT` or `unix:///SOCKET`"},
		{paramNamespace, ofProvider, "namespace of Vault Enterprise or HCP Vault, for login and reads"},
		{paramCACert, ofProvider, "file with PEM certificates to trust, in the provider's container; takes the place of every CA setting of the provider"},
		{paramCADirectory, ofProvider, "directory of such files; not used together with `vaultCACertPath`"},
		{paramTLSServerName, ofProvider, "name to expect in Vault's certificate"},
		{paramClientCert, ofProvider, "file with a client certificate, in the provider's container; only with its key"},
		{paramClientKey, ofProvider, "file with the key of that certificate"},
		{paramSkipVerify, ofProvider, "`\"true\"` does not verify Vault's certificate, `\"false\"` does, whatever the provider's setting is"},
		{
			paramStaleIfError, "`0s`",
			"how old a value may be that a new pod gets while Vault does not answer, such as `10m`; at most `--max-stale-if-error`",
		},
	}
}

// ObjectFields are the fields of an entry of the objects list.
func ObjectFields() []Setting {
	return []Setting{
		{fieldName, "", "path of the file in the volume, `db/password` for instance; required, and used once"},
		{
			fieldPath, "",
			"path of Vault's API with or without `/v1/`; KV version 2 has `data/` after the mount; may end in a query such as `?version=3`; required",
		},
		{fieldKey, "", "the field to take: its text, or JSON if it is not text; without it the file is Vault's whole response as JSON"},
		{fieldMethod, "`GET`", "HTTP method in upper case: `PUT` for PKI and others that are asked with arguments"},
		{fieldArgs, "", "a mapping that is sent as JSON body"},
		{fieldPermission, "the volume's, 0644", "mode of the file, a number without quotes such as `0400`"},
		{fieldEncoding, "`" + UTF8 + "`", "what the value is: `utf-8`, `base64` or `hex`; the file holds what is decoded; only with `secretKey`"},
		{fieldVersion, "", "ignored; old classes have it"},
	}
}
