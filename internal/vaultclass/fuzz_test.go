package vaultclass

import (
	"encoding/json"
	"strings"
	"testing"
)

func FuzzParseObjects(f *testing.F) {
	for _, seed := range []string{
		oneObject,
		"- &a {objectName: x, secretPath: 'p?v=1', secretArgs: {k: [1, 2.5, ~]}}\n- {<<: *a, objectName: y}",
		"- objectName: a\n  secretPath: b\n  secretKey: c\n  encoding: HEX\n  filePermission: 0o640\n  method: LIST",
		"array: |\n  - x", "- &a [*a]", "- {? [a] : b}", "- !!binary x", "- {secretArgs: {a: .nan, b: 2001-01-01}}", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseOne(text)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, o := range c.Objects {
			switch {
			case o.Name == "" || seen[o.Name]:
				t.Errorf("name %q is empty or repeated", o.Name)
			case !strings.HasPrefix(o.Read.Path, "/v1/") || strings.Contains(o.Read.Path+"/", "/../"):
				t.Errorf("path %q leaves /v1/", o.Read.Path)
			case o.Mode > 0o777:
				t.Errorf("mode %o", o.Mode)
			case o.Args != nil && !json.Valid(o.Args):
				t.Errorf("args %q are no JSON", o.Args)
			}
			seen[o.Name] = true
		}
	})
}

// FuzzParse has any two parameters in a class that is right otherwise.
func FuzzParse(f *testing.F) {
	for _, seed := range [][4]string{
		{"vaultAddress", "https://vault.example:8200/x", "vaultSkipTLSVerify", "true"},
		{"vaultAuthMountPath", "a/../b", "vaultAuthMethod", "jwt"},
		{"vaultKubernetesMountPath", "kubernetes", "staleIfError", "1h30m"},
		{"staleIfError", "-1s", "roleName", "-"},
		{"vaultCACertPath", "/etc/ca", "vaultTLSServerName", "x"},
		{"vaultAddress", "unix:///var/run/agent.sock", "vaultNamespace", "team/a"},
		{"vaultAddress", "http://[::1", "audience", "\x00"},
		{"staleIfError", "9999999999h", "vaultAddres", "x"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, key, value, other, another string) {
		c, err := Parse(params(map[string]string{key: value, other: another}))
		if err != nil {
			if err.Error() == "" || c != nil {
				t.Errorf("error %q, class %v", err, c)
			}
			return
		}
		if c.StaleIfError < 0 || len(c.Objects) == 0 || c.AuthMethod == "" {
			t.Errorf("%+v", c)
		}
		if c.AuthMount != "" { // else the provider's own
			checkLogin(t, c.AuthMount)
		}
	})
}

func checkLogin(t *testing.T, mount string) {
	t.Helper()
	path, err := LoginPath(mount)
	if err != nil {
		t.Errorf("mount %q was accepted, and is no path: %v", mount, err)
	}
	if !strings.HasPrefix(path, "/v1/auth/") || strings.Contains(path+"/", "/../") {
		t.Errorf("a login goes to %q", path)
	}
}
