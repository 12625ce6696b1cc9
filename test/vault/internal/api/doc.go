// Package api speaks Vault's HTTP interface, as far as setting up a server
// needs it.
package api
