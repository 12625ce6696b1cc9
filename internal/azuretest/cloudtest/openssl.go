package cloudtest

import (
	"os/exec"
	"testing"
)

// NeedOpenSSL is for a test that runs the program openssl. It skips a short run on a
// machine without; make test installs openssl, so there it is a failure.
func NeedOpenSSL(t testing.TB) {
	t.Helper()
	_, err := exec.LookPath("openssl")
	switch {
	case err == nil:
	case testing.Short():
		t.Skip("openssl is not installed")
	default:
		t.Fatalf("openssl is not installed: make test does that; -short goes without: %v", err)
	}
}
