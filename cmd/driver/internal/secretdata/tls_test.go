package secretdata

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// pki is what tests are issued: root, intermediate, and a leaf of each kind of key.
type pki struct {
	root, middle     *x509.Certificate
	keys             map[string]crypto.Signer
	leaves           map[string]*x509.Certificate
	rootKey, midKey  crypto.Signer
	otherLeaf, plain *x509.Certificate // plain is self-signed and of no CA
}

var issue = sync.OnceValues(makePKI) //nolint:gochecknoglobals // made once, then read

func testPKI(t testing.TB) pki {
	t.Helper()
	p, err := issue()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func makePKI() (pki, error) {
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return pki{}, err
	}
	midKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return pki{}, err
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return pki{}, err
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return pki{}, err
	}
	p := pki{
		rootKey: rootKey, midKey: midKey, leaves: map[string]*x509.Certificate{},
		keys: map[string]crypto.Signer{"RSA": rsaKey, "ECDSA": rootKey, "Ed25519": edKey},
	}
	if p.keys["ECDSA"], err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return pki{}, err
	}
	p.root = certify("root", rootKey, nil, rootKey)
	p.middle = certify("middle", midKey, p.root, rootKey)
	for kind, k := range p.keys {
		p.leaves[kind] = certify("leaf "+kind, k, p.middle, midKey)
	}
	p.otherLeaf = certify("other", rootKey, p.middle, midKey)
	p.plain = certify("plain", midKey, nil, midKey)
	return p, nil
}

var serial = func() func() *big.Int { //nolint:gochecknoglobals // makePKI runs once
	n := int64(0)
	return func() *big.Int { n++; return big.NewInt(n) }
}()

// certify makes a certificate, one of a CA unless it is for a leaf; its own parent if
// there is none.
func certify(name string, subject crypto.Signer, parent *x509.Certificate, signer crypto.Signer) *x509.Certificate {
	ca := name == "root" || name == "middle"
	template := &x509.Certificate{
		SerialNumber: serial(), Subject: pkix.Name{CommonName: name}, IsCA: ca, BasicConstraintsValid: ca,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent = template
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, subject.Public(), signer)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return cert
}

func pems(certs ...*x509.Certificate) string { return string(encodeCertificates(certs)) }

func block(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs8(t testing.TB, k any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return block("PRIVATE KEY", der)
}

func sec1(t testing.TB, k crypto.Signer) string {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(k.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	return block("EC PRIVATE KEY", der)
}

func build(t testing.TB, pairs []rotation.SecretKey, files ...provider.File) (map[string][]byte, error) {
	t.Helper()
	s, err := Build(rotation.SecretObject{Name: "s", Type: " kubernetes.io/tls ", Data: pairs}, files)
	return s.Data, err
}

// names are the subjects of certificates in PEM, which must have no headers.
func names(t *testing.T, data []byte) []string {
	t.Helper()
	var found []string
	for b, rest := pem.Decode(data); b != nil; b, rest = pem.Decode(rest) {
		cert, err := x509.ParseCertificate(b.Bytes)
		if err != nil || len(b.Headers) > 0 {
			t.Fatalf("%v, headers %v", err, b.Headers)
		}
		found = append(found, cert.Subject.CommonName)
	}
	return found
}

func keyType(t *testing.T, data []byte) string {
	t.Helper()
	b, rest := pem.Decode(data)
	if b == nil || len(bytes.TrimSpace(rest)) > 0 || len(b.Headers) > 0 {
		t.Fatal("not one block without headers")
	}
	return b.Type
}

// Each kind of key, from a PEM bundle and from archives with today's and old ciphers,
// gives a pair that a server can use.
func TestPairs(t *testing.T) {
	t.Parallel()
	p := testPKI(t)
	wantType := map[string]string{"RSA": "RSA PRIVATE KEY", "ECDSA": "EC PRIVATE KEY", "Ed25519": "PRIVATE KEY"}
	for kind, k := range p.keys {
		leaf := p.leaves[kind]
		contents := map[string]string{"PEM": pems(p.root, leaf, p.middle) + pkcs8(t, k)}
		for name, encoder := range map[string]*pkcs12.Encoder{
			"AES, SHA-256": pkcs12.Modern2023, "PBMAC1": pkcs12.Modern2026, "3DES": pkcs12.LegacyDES, "RC2": pkcs12.LegacyRC2, "nothing": pkcs12.Passwordless,
		} {
			pfx, err := encoder.Encode(k, p.root, []*x509.Certificate{p.middle, leaf}, "")
			if err != nil {
				t.Fatal(err)
			}
			contents[name] = string(pfx)
		}
		for name, bundle := range contents {
			data, err := build(t, keys("f", "tls.crt", "f", "tls.key", "f", "ca.crt"), file("f", bundle))
			if err != nil {
				t.Errorf("%s, %s: %v", kind, name, err)
				continue
			}
			if _, err := tls.X509KeyPair(data["tls.crt"], data["tls.key"]); err != nil {
				t.Errorf("%s, %s: %v", kind, name, err)
			}
			if got := keyType(t, data["tls.key"]); got != wantType[kind] {
				t.Errorf("%s, %s: key %s", kind, name, got)
			}
			if diff := cmp.Diff([]string{"leaf " + kind, "middle", "root"}, names(t, data["tls.crt"])); diff != "" {
				t.Errorf("%s, %s: chain (-want +got):\n%s", kind, name, diff)
			}
			cas := names(t, data["ca.crt"])
			slices.Sort(cas)
			if diff := cmp.Diff([]string{"middle", "root"}, cas); diff != "" {
				t.Errorf("%s, %s: authorities (-want +got):\n%s", kind, name, diff)
			}
		}
	}
}

// Forms of a private key beside a certificate.
func TestKeyForms(t *testing.T) {
	t.Parallel()
	p := testPKI(t)
	oid, err := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7})
	if err != nil {
		t.Fatal(err)
	}
	parameters, ec := block("EC PARAMETERS", oid), sec1(t, p.keys["ECDSA"])
	for name, tc := range map[string]struct{ kind, key string }{
		"PKCS#1":                   {"RSA", block("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(p.keys["RSA"].(*rsa.PrivateKey)))},
		"PKCS#1 by another name":   {"RSA", block("PRIVATE KEY", x509.MarshalPKCS1PrivateKey(p.keys["RSA"].(*rsa.PrivateKey)))},
		"SEC 1":                    {"ECDSA", ec},
		"parameters before":        {"ECDSA", parameters + ec},
		"parameters behind":        {"ECDSA", ec + parameters},
		"the last of two":          {"ECDSA", pkcs8(t, p.keys["RSA"]) + ec},
		"text around":              {"ECDSA", "Bag Attributes\n  friendlyName: x\n" + ec + "\n\nbye"},
		"a certificate behind":     {"Ed25519", pkcs8(t, p.keys["Ed25519"]) + pems(p.root)},
		"windows ends of lines":    {"Ed25519", strings.ReplaceAll(pkcs8(t, p.keys["Ed25519"]), "\n", "\r\n")},
		"headers, but not of PEM1": {"ECDSA", strings.Replace(ec, "KEY-----\n", "KEY-----\nNote: x\n\n", 1)},
	} {
		data, err := build(t, keys("c", "tls.crt", "k", "tls.key"), file("c", pems(p.leaves[tc.kind])), file("k", tc.key))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err = tls.X509KeyPair(data["tls.crt"], data["tls.key"]); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		keyType(t, data["tls.key"])
	}
}

func TestTLSRefuses(t *testing.T) {
	t.Parallel()
	p := testPKI(t)
	leaf, good := pems(p.leaves["ECDSA"]), sec1(t, p.keys["ECDSA"])
	x25519, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	locked, err := pkcs12.Modern.Encode(p.keys["ECDSA"], p.leaves["ECDSA"], nil, "hunter2")
	if err != nil {
		t.Fatal(err)
	}
	slow, err := asn1.Marshal(struct{ Inner any }{struct { // where an archive has its parameters
		Salt       []byte
		Iterations int
	}{[]byte("salt"), maxIterations + 1}})
	if err != nil {
		t.Fatal(err)
	}
	both := keys("c", "tls.crt", "k", "tls.key")
	for name, tc := range map[string]struct {
		pairs     []rotation.SecretKey
		cert, key string
		want      string
	}{
		"another key":           {append(both, keys("c", "extra")...), leaf, good, `key "extra" has no place`},
		"no private key":        {keys("c", "tls.crt"), leaf, good, "needs both tls.crt and tls.key"},
		"mismatch":              {both, pems(p.otherLeaf, p.middle), good, `the private key in "k" belongs to no certificate in "c"`},
		"encrypted PKCS#8":      {both, leaf, block("ENCRYPTED PRIVATE KEY", []byte("hunter2hunter2")), "is encrypted"},
		"encrypted PEM":         {both, leaf, strings.Replace(good, "KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\n", 1), "is encrypted"},
		"rubbish in a block":    {both, leaf, block("PRIVATE KEY", []byte("hunter2hunter2")), "cannot be parsed as PKCS#1, PKCS#8 or SEC 1"},
		"an empty block":        {both, leaf, block("PRIVATE KEY", nil), "cannot be parsed"},
		"a key of another kind": {both, leaf, pkcs8(t, x25519), "is none of RSA, ECDSA and Ed25519"},
		"PEM without a key":     {both, leaf, leaf, "none is a private key"},
		"PEM without a cert":    {both, good, good, "none is a CERTIFICATE"},
		"a broken certificate":  {both, leaf + block("CERTIFICATE", []byte("hunter2hunter2")), good, `certificate 2 in file "c" cannot be parsed`},
		"text":                  {both, leaf, "hunter2hunter2", `file "k" is neither PEM nor PKCS#12`},
		"nothing":               {both, "", good, `file "c" is neither PEM nor PKCS#12`},
		"archive with password": {both, string(locked), good, "has a password"},
		"slow archive":          {both, string(slow), good, "more than 1000000 iterations"},
		"DER of something else": {both, string(p.root.Raw), good, "cannot be read"},
	} {
		_, err := build(t, tc.pairs, file("c", tc.cert), file("k", tc.key))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: content in %v", name, err)
		}
	}
}

func TestChains(t *testing.T) {
	t.Parallel()
	p := testPKI(t)
	leaf, k := p.leaves["Ed25519"], pkcs8(t, p.keys["Ed25519"])
	crossed := certify("middle", p.midKey, p.plain, p.midKey) // the same subject and key, signed by another
	for name, tc := range map[string]struct {
		in   []*x509.Certificate
		want []string
	}{
		"right already":      {[]*x509.Certificate{leaf, p.middle, p.root}, []string{"leaf Ed25519", "middle", "root"}},
		"upside down":        {[]*x509.Certificate{p.root, p.middle, leaf}, []string{"leaf Ed25519", "middle", "root"}},
		"twice":              {[]*x509.Certificate{leaf, p.middle, leaf, p.middle}, []string{"leaf Ed25519", "middle"}},
		"with strangers":     {[]*x509.Certificate{p.plain, p.otherLeaf, p.middle, leaf}, []string{"leaf Ed25519", "middle", "plain", "other"}},
		"without the middle": {[]*x509.Certificate{p.root, leaf}, []string{"leaf Ed25519", "root"}},
		"signed twice":       {[]*x509.Certificate{p.root, crossed, leaf, p.middle}, []string{"leaf Ed25519", "middle", "root", "middle"}},
	} {
		data, err := build(t, keys("c", "tls.crt", "k", "tls.key"), file("c", pems(tc.in...)), file("k", k))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, names(t, data["tls.crt"])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestAuthorities(t *testing.T) {
	t.Parallel()
	p := testPKI(t)
	leaf := p.leaves["RSA"]
	store, err := pkcs12.Modern.EncodeTrustStore([]*x509.Certificate{p.root, p.middle}, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		in   string
		want []string
	}{
		"a chain":            {pems(leaf, p.middle, p.root), []string{"middle", "root"}},
		"of no CA":           {pems(p.plain), []string{"plain"}},
		"leaves alone":       {pems(leaf, p.otherLeaf), []string{"leaf RSA", "other"}},
		"a plain one beside": {pems(p.root, p.plain), []string{"root", "plain"}},
		"a trust store":      {string(store), []string{"root", "middle"}},
	} {
		data, err := build(t, keys("c", "tls.crt", "k", "tls.key", "a", "ca.crt"),
			file("c", pems(leaf)), file("k", pkcs8(t, p.keys["RSA"])), file("a", tc.in))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tc.want, names(t, data["ca.crt"])); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A trust store has no key.
func TestKeyOfTrustStore(t *testing.T) {
	t.Parallel()
	p := testPKI(t)
	store, err := pkcs12.Modern.EncodeTrustStore([]*x509.Certificate{p.root}, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = build(t, keys("f", "tls.crt", "f", "tls.key"), file("f", string(store)))
	if err == nil || !strings.Contains(err.Error(), "one private key and its certificate") {
		t.Error(err)
	}
}
