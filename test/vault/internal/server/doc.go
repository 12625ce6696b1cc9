// Package server is the Vault process and the files around it. What is inside
// Vault is not its business.
package server
