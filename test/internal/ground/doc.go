// Package ground groups what the tools of the test ground share: progress,
// cached builds, Debian packages, processes, certificates and run folders. It
// holds no code of its own and knows neither Kubernetes nor Vault.
package ground
