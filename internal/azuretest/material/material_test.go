package material_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/strongroom/strongroom/internal/azuretest/cloudtest"
	"github.com/strongroom/strongroom/internal/azuretest/material"
)

func chain(t *testing.T, template material.Template) material.Chain {
	t.Helper()
	template.Name = "shop.test"
	made, err := material.NewChain(template)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestChain(t *testing.T) {
	for _, kind := range []string{"rsa-2048", "ec-p256", "ec-p384", "ec-p521", "ed25519"} {
		t.Run(kind, func(t *testing.T) {
			made := chain(t, material.Template{Key: kind, Intermediates: 2})
			if len(made.Certificates) != 4 {
				t.Fatalf("%d certificates, want 4", len(made.Certificates))
			}
			roots, between := x509.NewCertPool(), x509.NewCertPool()
			roots.AddCert(made.Certificates[3])
			between.AddCert(made.Certificates[1])
			between.AddCert(made.Certificates[2])
			_, err := made.Certificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: "shop.test"})
			if err != nil {
				t.Error(err)
			}
			for i, certificate := range made.Certificates[:3] {
				if !bytes.Equal(certificate.AuthorityKeyId, made.Certificates[i+1].SubjectKeyId) {
					t.Errorf("certificate %d does not name the key above it", i)
				}
			}
		})
	}
	if alone := chain(t, material.Template{SelfSigned: true, NoSubjectKeyID: true, Key: "ec-p256"}); len(alone.Certificates) != 1 {
		t.Errorf("a self signed chain has %d certificates", len(alone.Certificates))
	}
}

// algorithms are those that openssl finds in a file.
func algorithms(t *testing.T, file []byte) string {
	t.Helper()
	command := exec.CommandContext(t.Context(), "openssl", "pkcs12", "-info", "-noout", "-legacy", "-passin", "pass:")
	command.Stdin = bytes.NewReader(file)
	text, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return string(text)
}

func TestPFX(t *testing.T) {
	cloudtest.NeedOpenSSL(t)
	made := chain(t, material.Template{Key: "ec-p256", Intermediates: 1})
	turned, err := made.Ordered(2, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	for encryption, found := range map[material.Encryption][]string{
		material.TripleDES: {"MAC: sha1", "pbeWithSHA1And3-KeyTripleDES-CBC"},
		material.RC2:       {"MAC: sha1", "pbeWithSHA1And40BitRC2-CBC"},
		material.AES:       {"MAC: sha256", "PBES2, PBKDF2, AES-256-CBC"},
	} {
		t.Run(string(encryption), func(t *testing.T) {
			byGo, err := turned.PFX(encryption, "")
			if err != nil {
				t.Fatal(err)
			}
			byOpenSSL, err := made.OpenSSLPFX(t.Context(), encryption, "")
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range [][]byte{byGo, byOpenSSL} {
				text := algorithms(t, file)
				for _, want := range found {
					if !strings.Contains(text, want) {
						t.Errorf("no %q in\n%s", want, text)
					}
				}
			}
			_, first, rest, err := pkcs12.DecodeChain(byGo, "")
			if err != nil {
				t.Fatal(err)
			}
			if got := append([]*x509.Certificate{first}, rest...); !slices.EqualFunc(got, turned.Certificates, (*x509.Certificate).Equal) {
				t.Error("the order of the certificates is lost")
			}
		})
	}
}

// A key that cannot be exported: the file has certificates only.
func TestPFXWithoutKey(t *testing.T) {
	cloudtest.NeedOpenSSL(t)
	made := chain(t, material.Template{Key: "ec-p256"}).WithoutKey()
	for name, write := range map[string]func() ([]byte, error){
		"go":      func() ([]byte, error) { return made.PFX(material.AES, "") },
		"openssl": func() ([]byte, error) { return made.OpenSSLPFX(t.Context(), material.TripleDES, "") },
	} {
		file, err := write()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if text := algorithms(t, file); strings.Contains(text, "Shrouded Keybag") || !strings.Contains(text, "Certificate bag") {
			t.Errorf("%s writes\n%s", name, text)
		}
	}
}

func TestPEM(t *testing.T) {
	text, err := chain(t, material.Template{Key: "rsa-2048"}).PEM()
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		kinds = append(kinds, block.Type)
	}
	if want := []string{"PRIVATE KEY", "CERTIFICATE", "CERTIFICATE"}; !slices.Equal(kinds, want) {
		t.Errorf("got %v, want %v", kinds, want)
	}
}
