package pki

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"
)

func TestIssue(t *testing.T) {
	ca, err := NewAuthority("root")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		subject Subject
		usage   x509.ExtKeyUsage
		host    string
		good    bool
	}{
		{"server by name", Subject{Name: "s", Hosts: []string{"a.test", "10.0.0.1"}}, x509.ExtKeyUsageServerAuth, "a.test", true},
		{"server by address", Subject{Name: "s", Hosts: []string{"a.test", "10.0.0.1"}}, x509.ExtKeyUsageServerAuth, "10.0.0.1", true},
		{"other server", Subject{Name: "s", Hosts: []string{"a.test"}}, x509.ExtKeyUsageServerAuth, "b.test", false},
		{"client", Subject{Name: "c", Groups: []string{"g"}}, x509.ExtKeyUsageClientAuth, "", true},
		{"client as server", Subject{Name: "c"}, x509.ExtKeyUsageServerAuth, "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := ca.Issue(c.subject)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := tls.X509KeyPair(p.Cert, p.Key); err != nil {
				t.Fatal(err)
			}
			if err := verify(ca, p, x509.VerifyOptions{DNSName: c.host, KeyUsages: []x509.ExtKeyUsage{c.usage}}); (err == nil) != c.good {
				t.Errorf("verify: %v", err)
			}
		})
	}
}

func verify(ca *Authority, p Pair, how x509.VerifyOptions) error {
	b, _ := pem.Decode(p.Cert)
	cert, err := x509.ParseCertificate(b.Bytes)
	if err != nil {
		return err
	}
	how.Roots = x509.NewCertPool()
	how.Roots.AppendCertsFromPEM(ca.Cert)
	_, err = cert.Verify(how)
	return err
}
