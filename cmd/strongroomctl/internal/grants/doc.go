// Package grants says what a store must allow so that the pods of a service account can mount a
// class, and nothing more, as commands for the administrator of the store. It runs none of them.
package grants
