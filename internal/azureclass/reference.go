package azureclass

// Setting is one thing that a class can say, for those who write classes.
type Setting struct {
	Name    string
	Default string // "" if there is none
	Meaning string // Markdown, one line
}

// Parameters are the parameters of a class, in the order in which one meets them.
func Parameters() []Setting {
	const no = "`\"false\"`"
	return []Setting{
		{paramVault, "", "the Key Vault, the first label of its host name; 3 to 24 letters, digits and hyphens; required"},
		{paramTenant, "", "the tenant of the identity and of the vault, by its id or by a domain name; `adfs` for an Azure Stack with AD FS; required"},
		{paramTenantOld, "", "an older name of `tenantID`, read where that is missing"},
		{paramObjects, "", "YAML with `array`, a list of texts which are YAML again, see below; required"},
		{
			paramClientID, "",
			"client id of the application or identity whose federated credential trusts the pod's service account (workload identity), " +
				"or which it is bound to (`useAzureTokenProxy`); without it and the `use` parameters, a service principal from `nodePublishSecretRef`",
		},
		{paramVMIdentity, no, "`\"true\"` uses a managed identity of the node"},
		{paramUserAssigned, "the system-assigned one", "client id of the user-assigned identity, with `useVMManagedIdentity`"},
		{paramTokenProxy, no, "`\"true\"` uses AKS identity binding; needs `clientID`"},
		{paramPodIdentity, no, "`\"true\"` asks the NMI of AAD pod identity, which Azure has retired"},
		{
			paramCloud, "`--cloud-name`",
			"`AzurePublicCloud`, `AzureUSGovernmentCloud`, `AzureChinaCloud`, `AzureGermanCloud` or `AzureStackCloud`; their case does not matter",
		},
		{
			paramCloudFile, "`AZURE_ENVIRONMENT_FILEPATH`",
			"file that defines `AzureStackCloud`, an absolute path in the provider's container",
		},
		{
			paramStaleIfError, "`0s`",
			"how old a value may be that a new pod gets while Azure does not answer, such as `10m`; at most `--max-stale-if-error`",
		},
	}
}

// ObjectFields are the fields of an entry of the array.
func ObjectFields() []Setting {
	return []Setting{
		{"objectName", "", "name of the object in the vault; required"},
		{"objectType", "", "`secret`, `key` or `cert`; required"},
		{"objectAlias", "`objectName`", "path of the file in the volume, such as `db/password`"},
		{"objectVersion", "`latest`", "version of the object; with a history, the one that it begins with"},
		{
			"objectVersionHistory", "`0`",
			"how many versions to write, from 2 on: the file is then a folder, with the newest version in `0`, the one before it in `1` and so on",
		},
		{
			"objectFormat", "`" + PEM + "`",
			"`pem` or `pfx`, of a certificate whose secret is PKCS#12 in the vault: PEM, or the base64 text of the PKCS#12 file; `pfx` only with `secret`",
		},
		{"objectEncoding", "`" + UTF8 + "`", "what the value is: `utf-8`, `base64` or `hex`; the file holds what is decoded; only with `secret`"},
		{"filePermission", "the volume's, 0644", "mode of the file in octal digits, such as `0400`"},
	}
}
