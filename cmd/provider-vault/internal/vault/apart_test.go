package vault

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/provider"
)

// TestClassesDoNotShareTLS: what one class says of TLS counts for no other, before it
// and after it, at the same address.
func TestClassesDoNotShareTLS(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("GET /v1/a", answer{body: `{"data":{"k":"v"}}`})
	r := newRig(t, f, func(c *Config) { c.Flags.CACert = "" }) // nobody trusts it
	strict := func(when string) {
		_, err := r.mount(t, objectA)
		if err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("%s: a class without trust: %v", when, err)
		}
	}
	strict("first")
	for range 2 {
		if _, err := r.mount(t, objectA, "vaultSkipTLSVerify", "true"); err != nil {
			t.Error(err)
		}
		strict("after a class that skips")
		if _, err := r.mount(t, objectA, "vaultCACertPath", f.caFile, "vaultTLSServerName", "other.test"); err == nil || !strings.Contains(err.Error(), "other.test") {
			t.Errorf("a class with another server name: %v", err)
		}
		if _, err := r.mount(t, objectA, "vaultCACertPath", f.caFile); err != nil {
			t.Errorf("a class with the CA: %v", err)
		}
		strict("after a class with the CA")
	}
}

// TestRedirectsStayAllowed: a token does not follow a redirect to where classes may not
// go.
func TestRedirectsStayAllowed(t *testing.T) {
	t.Parallel()
	elsewhere := newFakeVault(t)
	elsewhere.on("GET /v1/a", answer{body: `{"data":{"k":"v"}}`})
	f := newFakeVault(t)
	f.on("GET /v1/a", answer{status: 307, header: map[string]string{"Location": elsewhere.URL + "/v1/a"}})
	_, err := newRig(t, f, func(c *Config) { c.Flags.AllowedAddresses = f.URL }).mount(t, objectA, "vaultSkipTLSVerify", "true")
	checkFailure(t, err, provider.Invalid, "redirects", "allowed-addresses")
	if calls := elsewhere.requests(); len(calls) != 0 {
		t.Errorf("the other address saw %v", calls)
	}
	_, err = newRig(t, f, func(c *Config) { c.Flags.AllowedAddresses = f.URL + "," + elsewhere.URL }).mount(t, objectA, "vaultSkipTLSVerify", "true")
	if err != nil {
		t.Errorf("a redirect to an allowed address: %v", err)
	}
}

// TestFilesStayBelow: no name, link or `..` of a class leads out of the directory.
func TestFilesStayBelow(t *testing.T) {
	t.Parallel()
	f := newFakeVault(t)
	f.on("GET /v1/a", answer{body: `{"data":{"k":"v"}}`})
	dir := t.TempDir()
	link := func(to, name string) string {
		name = filepath.Join(dir, name)
		if err := os.Symlink(to, name); err != nil {
			t.Fatal(err)
		}
		return name
	}
	ca, err := os.ReadFile(f.caFile)
	if err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(inside, ca, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, f, func(c *Config) { c.Flags.CACert, c.Flags.TLSFilesDirectory = "", dir })
	for name, tt := range map[string]struct {
		param, file string
		ok          bool
	}{
		"inside":          {"vaultCACertPath", inside, true},
		"a link inside":   {"vaultCACertPath", link("ca.pem", "linked.pem"), true},
		"outside":         {"vaultCACertPath", f.caFile, false},
		"a link outside":  {"vaultCACertPath", link(f.caFile, "out.pem"), false},
		"dots":            {"vaultCACertPath", dir + "/../" + filepath.Base(filepath.Dir(f.caFile)) + "/ca.pem", false},
		"another dir":     {"vaultCADirectory", filepath.Dir(f.caFile), false},
		"a relative path": {"vaultCACertPath", "ca.pem", false},
	} {
		_, err := r.mount(t, objectA, tt.param, tt.file)
		if tt.ok && err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !tt.ok {
			checkFailure(t, err, provider.Invalid, "TLS settings")
		}
	}
}
