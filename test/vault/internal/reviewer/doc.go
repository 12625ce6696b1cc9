// Package reviewer prepares a cluster for Vault: a service account that may
// review the tokens of others, and a long-lived token of it.
package reviewer
