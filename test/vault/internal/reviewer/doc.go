// Package reviewer prepares a cluster for Vault: a service account that may
// review the tokens of others, a long-lived token of it, and the right of
// anybody to read the public keys of service accounts.
package reviewer
