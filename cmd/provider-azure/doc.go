// Command provider-azure serves the objects of Azure Key Vault to the Secrets Store
// CSI driver; it holds flags and wiring, never a secret.
package main
