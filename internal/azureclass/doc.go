// Package azureclass reads the parameters of a SecretProviderClass for Azure Key
// Vault. It is pure: no network, no files, no SDK.
package azureclass
