// Package vaultclass holds what a SecretProviderClass for Vault can say: it
// parses and checks the parameters, and never talks to a network, reads a file
// or knows how a volume is mounted.
package vaultclass
