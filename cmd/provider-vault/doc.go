// Command provider-vault serves the secrets of HashiCorp Vault to the Secrets
// Store CSI driver; it holds flags and wiring, never a secret.
package main
