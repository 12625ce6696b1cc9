//go:build !amd64

package trace

// archNames are those of calls that newer architectures do not have.
func archNames() map[int]string { return nil }
