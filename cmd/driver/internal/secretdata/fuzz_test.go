package secretdata

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"software.sslmate.com/src/go-pkcs12"
)

// Whatever a file holds, a Secret for TLS is one that a server can use, or there is
// none, and the reason does not repeat the file.
func FuzzTLS(f *testing.F) {
	p := testPKI(f)
	k := p.keys["ECDSA"]
	f.Add([]byte(pems(p.middle, p.leaves["ECDSA"]) + sec1(f, k)))
	f.Add([]byte(pems(p.leaves["Ed25519"]) + pkcs8(f, p.keys["Ed25519"])))
	for _, encoder := range []*pkcs12.Encoder{pkcs12.Modern, pkcs12.Modern2026, pkcs12.Legacy, pkcs12.Passwordless} {
		pfx, err := encoder.Encode(k, p.leaves["ECDSA"], []*x509.Certificate{p.middle}, "")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(pfx)
	}
	f.Fuzz(func(t *testing.T, contents []byte) {
		data, err := build(t, keys("f", "tls.crt", "f", "tls.key", "f", "ca.crt"), file("f", string(contents)))
		if err != nil {
			if len(contents) > 40 && strings.Contains(err.Error(), string(contents)) {
				t.Errorf("quoted: %v", err)
			}
			return
		}
		if _, err := tls.X509KeyPair(data["tls.crt"], data["tls.key"]); err != nil {
			t.Error(err)
		}
		if block, _ := pem.Decode(data["ca.crt"]); block == nil {
			t.Error("no authority")
		}
	})
}
