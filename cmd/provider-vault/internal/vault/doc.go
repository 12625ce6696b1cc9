// Package vault holds the Vault provider: it logs in as the pod, reads each
// secret once and renders the files of a volume; it never writes a file, never
// keeps a secret beyond a call, and never logs in as anyone but the pod.
package vault
