// Package setup brings a Vault into the state that tests expect: initialised,
// unsealed, audited, with its engines and Kubernetes auth. Every step may be
// repeated.
package setup
