// Package keyfile writes the keys and certificates of Key Vault as the files that
// programs read. It is pure: no network, no SDK.
package keyfile
