package keyfile_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/cmd/provider-azure/internal/keyfile"
)

// FuzzFromPKCS12: whatever Key Vault holds, what comes out is an error that shows
// nothing of it, or PEM that programs can read.
func FuzzFromPKCS12(f *testing.F) {
	for _, name := range matches(f, "*.pfx") {
		if strings.HasPrefix(name, "rounds") { // seconds each
			continue
		}
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		file, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(file)
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		bundle, err := keyfile.FromPKCS12(base64.StdEncoding.EncodeToString(file))
		if err != nil {
			if len(err.Error()) > 300 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		checkBundle(t, bundle, len(file))
	})
}

func checkBundle(t *testing.T, bundle *keyfile.Bundle, size int) {
	t.Helper()
	text := bundle.PEM()
	if len(text) > 4*size+1000 {
		t.Errorf("%d bytes out of a file of %d", len(text), size)
	}
	keys, certs := 0, 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			certs++
		} else if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil || block.Type != "PRIVATE KEY" || certs > 0 {
			t.Errorf("key %d after %d certificates is a %s: %v", keys, certs, block.Type, err)
		} else {
			keys++
		}
	}
	if keys != len(bundle.Keys) || certs != len(bundle.Certs) {
		t.Errorf("%d keys and %d certificates are written as %d and %d", len(bundle.Keys), len(bundle.Certs), keys, certs)
	}
	if ordered, _, err := keyfile.Order(bundle.Certs); err == nil && !slices.Equal(sorted(ordered), sorted(bundle.Certs)) {
		t.Error("the order loses certificates")
	}
}

func sorted(list [][]byte) (out []string) {
	for _, b := range list {
		out = append(out, string(b))
	}
	slices.Sort(out)
	return out
}

func matches(f *testing.F, pattern string) (names []string) {
	f.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	if err != nil || len(paths) == 0 {
		f.Fatalf("%d files, error %v", len(paths), err)
	}
	for _, path := range paths {
		names = append(names, filepath.Base(path))
	}
	return names
}

// FuzzPEM: splitting and ordering lose nothing.
func FuzzPEM(f *testing.F) {
	for _, name := range matches(f, "*.pem") {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	for _, text := range []string{
		"", "s3cret", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
		"-----BEGIN A-----\nB: C\n\nAAAA\n-----END A-----\r\n", "-----BEGIN CERTIFICATE-----\n\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ordered, whole := keyfile.OrderPEM(text)
		if !whole && ordered != text {
			t.Errorf("%q became %q", text, ordered)
		}
		if again, stays := keyfile.OrderPEM(ordered); again != ordered || stays != whole {
			t.Errorf("%q, ordered again, became %q", ordered, again)
		}
		certs, others := keyfile.Split([]byte(text))
		orderedCerts, orderedOthers := keyfile.Split([]byte(ordered))
		if !slices.Equal(decoded(certs), decoded(orderedCerts)) || !bytes.Equal(others, orderedOthers) {
			t.Errorf("%q and %q have not the same blocks", text, ordered)
		}
		if n := len(decoded([]byte(text))); n != len(decoded(certs))+len(decoded(others)) {
			t.Errorf("of %d blocks there are %d and %d", n, len(decoded(certs)), len(decoded(others)))
		}
	})
}

// decoded is what the blocks of a text hold, sorted.
func decoded(text []byte) (all []string) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		all = append(all, block.Type+string(block.Bytes))
	}
	slices.Sort(all)
	return all
}

// FuzzPublic: any numbers make an error or a public key with these numbers.
func FuzzPublic(f *testing.F) {
	f.Add("P-256", []byte{1}, []byte{1, 0, 1})
	f.Add("P-384", bytes.Repeat([]byte{0xff}, 48), make([]byte, 48))
	f.Add("P-521", make([]byte, 67), bytes.Repeat([]byte{0xff}, 66))
	f.Add("P-256K", bytes.Repeat([]byte{0xff}, 512), []byte{0, 1, 0, 1})
	f.Add("", []byte(nil), []byte(nil))
	f.Fuzz(func(t *testing.T, curve string, a, b []byte) {
		ec, errEC := keyfile.EC(curve, a, b)
		rsa, errRSA := keyfile.RSA(a, b)
		for text, err := range map[string]error{string(ec): errEC, string(rsa): errRSA} {
			if err != nil {
				if len(err.Error()) > 300 {
					t.Errorf("an error of %d bytes", len(err.Error()))
				}
				continue
			}
			block, rest := pem.Decode([]byte(text))
			if block == nil || block.Type != "PUBLIC KEY" || len(rest) > 0 {
				t.Fatalf("not one block: %q", text)
			}
			if _, err := x509.ParsePKIXPublicKey(block.Bytes); err != nil {
				t.Errorf("cannot be read again: %v", err)
			}
		}
	})
}
