// Package lint checks classes without a cluster or a store, by the code that the driver and its
// providers run, and says where in which file something is wrong. It never shows a value.
package lint
