// Package azure fetches the files of volumes from Azure Key Vault.
package azure
