// Package setup brings a Vault into the state that tests expect: initialised,
// unsealed, audited, with its engines and auth methods. Every step may be
// repeated.
package setup
