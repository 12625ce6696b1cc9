// Package config writes what the components of a cluster read before they
// start (certificates, kubeconfigs, settings) and says how each is started. It
// starts nothing.
package config
