// Package pki makes certificate authorities and certificates for test
// servers. Keys live as long as the run folder that holds them.
package pki
