// Package groundbin knows where the programs are that test/cluster builds, for tests that
// start a real API server.
package groundbin
