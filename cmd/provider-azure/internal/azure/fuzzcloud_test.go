package azure

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzCloud reads any file as the definition of a cloud: it is refused without a word of
// what it holds, or a vault's address leads to a host of that cloud and nowhere else.
func FuzzCloud(f *testing.F) {
	for _, seed := range []string{
		`{"activeDirectoryEndpoint":"https://login.stack.test/","keyVaultEndpoint":"https://vault.stack.test/","keyVaultDNSSuffix":"vault.stack.test"}`,
		`{"activeDirectoryEndpoint":"http://login","keyVaultDNSSuffix":"x"}`, `{"activeDirectoryEndpoint":"https://l","keyVaultDNSSuffix":".a@b"}`,
		`{"activeDirectoryEndpoint":"https://l","keyVaultDNSSuffix":"a:1"}`, `{"activeDirectoryEndpoint":"https://l","keyVaultDNSSuffix":"a\u0000"}`,
		`s3cr3t`, `"s3cr3t"`, `null`, `{}`, ``,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		file := filepath.Join(dir, "cloud.json")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := (&clouds{below: dir}).find("AzureStackCloud", file)
		if err != nil {
			if strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("the error quotes the file: %v", err)
			}
			return
		}
		u, err := url.Parse(c.vaultURL("shop"))
		if err != nil || u.User != nil || u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || !strings.HasPrefix(u.Hostname(), "shop.") {
			t.Errorf("the address of a vault is %q (%v)", c.vaultURL("shop"), err)
		}
	})
}
