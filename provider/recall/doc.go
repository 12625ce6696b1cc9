// Package recall remembers what a store said last, within bounds: for pods that would
// rather start with an old value than not at all, and for values that cannot change.
// It remembers too what was logged already.
package recall
