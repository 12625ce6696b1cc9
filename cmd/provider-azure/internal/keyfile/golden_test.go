package keyfile_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/cmd/provider-azure/internal/keyfile"
	"github.com/strongroom/strongroom/internal/azuretest/material"
)

// remake is the flag that makes the golden files anew: new PKCS#12 files, and what
// openssl, not this package, says is in them.
const remake = "remake"

func TestMain(m *testing.M) {
	flag.Bool(remake, false, "make the golden files anew, with openssl")
	flag.Parse()
	os.Exit(m.Run())
}

// golden is a PKCS#12 file in testdata: NAME.pfx as Key Vault would give it, NAME.pem as
// it is written, and NAME.ordered.pem if that differs; or else NAME.error.
type golden struct {
	name     string
	by       material.Encryption
	openssl  bool
	more     []string // arguments of openssl
	password string
	chain    func() (material.Chain, error)
	places   []int // of the certificates in the file
	keyless  bool
	ordered  []int  // which of the chain's certificates the right order is of; nil if there is none
	fails    string // the error
}

func of(t material.Template) func() (material.Chain, error) {
	t.Name = "shop.test"
	return func() (material.Chain, error) { return material.NewChain(t) }
}

func twoLeaves() (material.Chain, error) {
	one, err := of(material.Template{Key: "ec-p256"})()
	if err != nil {
		return one, err
	}
	two, err := of(material.Template{Key: "ec-p256"})()
	one.Certificates = append(one.Certificates, two.Certificates...)
	return one, err
}

func crossSigned() (material.Chain, error) { return material.NewCrossSigned("shop.test", "ec-p256") }

const (
	hasPassword = "the PKCS#12 file has a password: store it without one"
	tooManyRuns = "the PKCS#12 file asks for more than 5000000 rounds of hashing: write it anew with fewer iterations"
)

// goldens is every case. Those by openssl have the leaf first, as openssl wants it.
func goldens() []golden {
	rsa := of(material.Template{Key: "rsa-2048", Intermediates: 1})
	ec := of(material.Template{Key: "ec-p256", Intermediates: 1})
	long := of(material.Template{Key: "ec-p256", Intermediates: 2})
	alone := func(kind string) func() (material.Chain, error) {
		return of(material.Template{Key: kind, SelfSigned: true})
	}
	in := []int{0, 1, 2}
	return []golden{
		{name: "openssl-3des", openssl: true, by: material.TripleDES, chain: rsa, places: in, ordered: in},
		{name: "openssl-3des-turned", openssl: true, by: material.TripleDES, chain: rsa, places: []int{0, 2, 1}, ordered: in},
		{name: "openssl-rc2", openssl: true, by: material.RC2, chain: rsa, places: in, ordered: in},
		{name: "openssl-aes", openssl: true, by: material.AES, chain: rsa, places: in, ordered: in},
		{name: "openssl-aes-128", openssl: true, by: material.AES, more: []string{"-keypbe", "AES-128-CBC", "-certpbe", "AES-128-CBC"}, chain: ec, places: in, ordered: in},
		{name: "openssl-3des-mac-sha256", openssl: true, by: material.TripleDES, more: []string{"-macalg", "sha256"}, chain: ec, places: in, ordered: in},
		{name: "openssl-aes-mac-sha512", openssl: true, by: material.AES, more: []string{"-macalg", "sha512"}, chain: ec, places: in, ordered: in},
		{name: "openssl-plain", openssl: true, by: material.Plain, chain: ec, places: in, ordered: in},
		{name: "openssl-names", openssl: true, by: material.TripleDES, more: []string{"-name", "shop", "-caname", "über"}, chain: ec, places: in, ordered: in},
		{name: "openssl-windows-attributes", openssl: true, by: material.TripleDES, more: []string{"-LMK", "-CSP", "Microsoft Software Key Storage Provider"}, chain: ec, places: []int{0, 2, 1}, ordered: in},
		{name: "go-3des", by: material.TripleDES, chain: rsa, places: in, ordered: in},
		{name: "go-rc2", by: material.RC2, chain: ec, places: in, ordered: in},
		{name: "go-aes", by: material.AES, chain: ec, places: in, ordered: in},
		{name: "go-plain", by: material.Plain, chain: ec, places: []int{2, 1, 0}, ordered: in},

		{name: "rsa-4096", openssl: true, by: material.TripleDES, chain: alone("rsa-4096"), places: []int{0}, ordered: []int{0}},
		{name: "ec-p384", openssl: true, by: material.AES, chain: alone("ec-p384"), places: []int{0}, ordered: []int{0}},
		{name: "ec-p521", openssl: true, by: material.TripleDES, chain: alone("ec-p521"), places: []int{0}, ordered: []int{0}},
		{name: "ed25519", openssl: true, by: material.AES, chain: alone("ed25519"), places: []int{0}, ordered: []int{0}},
		{name: "go-ed25519", by: material.TripleDES, chain: of(material.Template{Key: "ed25519", Intermediates: 1}), places: []int{2, 0, 1}, ordered: in},

		{name: "no-certificate", openssl: true, by: material.AES, chain: ec},
		{name: "no-certificate-3des", openssl: true, by: material.TripleDES, chain: rsa},
		{name: "no-key", openssl: true, by: material.AES, keyless: true, chain: ec, places: []int{1, 0, 2}, ordered: in},
		{name: "no-key-3des", openssl: true, by: material.TripleDES, keyless: true, chain: ec, places: in, ordered: in},
		{name: "no-key-rc2", openssl: true, by: material.RC2, keyless: true, chain: ec, places: []int{2, 1, 0}, ordered: in},
		{name: "no-key-plain", openssl: true, by: material.Plain, keyless: true, chain: ec, places: in, ordered: in},
		{name: "no-key-java", by: material.AES, keyless: true, chain: ec, places: []int{2, 0, 1}, ordered: in},
		{name: "no-key-java-3des", by: material.TripleDES, keyless: true, chain: ec, places: []int{2, 0, 1}, ordered: in},

		{name: "self-signed", by: material.AES, chain: alone("ec-p256"), places: []int{0}, ordered: []int{0}},
		{name: "leaf-only", by: material.AES, chain: ec, places: []int{0}, ordered: []int{0}},
		{name: "two", by: material.AES, chain: of(material.Template{Key: "ec-p256"}), places: []int{1, 0}, ordered: []int{0, 1}},
		{name: "three", by: material.AES, chain: ec, places: []int{2, 1, 0}, ordered: in},
		{name: "four", by: material.AES, chain: long, places: []int{2, 0, 3, 1}, ordered: []int{0, 1, 2, 3}},
		{name: "without-root", by: material.AES, chain: long, places: []int{2, 1, 0}, ordered: in},
		{name: "leaf-without-id", by: material.AES, chain: of(material.Template{Key: "ec-p256", Intermediates: 1, NoSubjectKeyID: true}), places: []int{1, 2, 0}, ordered: in},
		{name: "missing-intermediate", by: material.AES, chain: long, places: []int{3, 2, 0}},
		{name: "duplicate-leaf", by: material.AES, chain: ec, places: []int{2, 0, 1, 0}},
		{name: "duplicate-intermediate", by: material.AES, chain: ec, places: []int{1, 1, 0, 2}},
		{name: "two-leaves", by: material.AES, chain: twoLeaves, places: []int{3, 2, 0, 1}},
		{name: "cross-signed", by: material.AES, chain: crossSigned, places: []int{4, 3, 2, 1, 0}},
	}
}

// refused are the cases that fail.
func refused() []golden {
	ec := of(material.Template{Key: "ec-p256", Intermediates: 1})
	in := []int{0, 1, 2}
	return []golden{
		{name: "password", openssl: true, by: material.AES, password: "s3cret", chain: ec, places: in, fails: hasPassword},
		{name: "password-3des", openssl: true, by: material.TripleDES, password: "s3cret", chain: ec, places: in, fails: hasPassword},
		{name: "password-no-key", openssl: true, by: material.TripleDES, password: "s3cret", keyless: true, chain: ec, places: in, fails: hasPassword},
		{name: "rounds", openssl: true, by: material.AES, more: []string{"-iter", "2000000"}, chain: ec, places: in, fails: tooManyRuns},
		{name: "rounds-no-mac", openssl: true, by: material.AES, more: []string{"-iter", "5100000", "-nomac"}, chain: ec, places: in, fails: tooManyRuns},
		{
			name: "cipher", openssl: true, by: material.TripleDES, more: []string{"-certpbe", "CAMELLIA-256-CBC"}, chain: ec, places: in,
			fails: "the PKCS#12 file cannot be read: pkcs12: pbes2 algorithm 1.2.392.200011.61.1.1.1.4 is not supported",
		},
	}
}

// TestGolden: go test -run TestGolden -remake ./cmd/provider-azure/internal/keyfile.
func TestGolden(t *testing.T) {
	for _, g := range slices.Concat(goldens(), refused()) {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			if flag.Lookup(remake).Value.String() == "true" {
				g.make(t)
			}
			bundle, err := keyfile.FromPKCS12(string(read(t, g.name+".pfx")))
			if g.fails != "" {
				if err == nil || err.Error() != g.fails {
					t.Errorf("got error %v, want %s", err, g.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			g.check(t, bundle)
		})
	}
}

func (g *golden) check(t *testing.T, bundle *keyfile.Bundle) {
	t.Helper()
	want := read(t, g.name+".pem")
	if diff := cmp.Diff(string(want), string(bundle.PEM())); diff != "" {
		t.Errorf("in the order of the file (-want +got):\n%s", diff)
	}
	if len(bundle.Certs) == 0 {
		return
	}
	ordered, whole, err := keyfile.Order(bundle.Certs)
	if err != nil || whole != (g.ordered != nil) {
		t.Fatalf("whole is %t, error %v", whole, err)
	}
	if text, err := os.ReadFile(filepath.Join("testdata", g.name+".ordered.pem")); err == nil {
		want = text
	}
	bundle.Certs = ordered
	if diff := cmp.Diff(string(want), string(bundle.PEM())); diff != "" {
		t.Errorf("in the order of the chain (-want +got):\n%s", diff)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// openssl runs the program, and gives it a text.
func openssl(t *testing.T, in []byte, args ...string) []byte {
	t.Helper()
	command := exec.CommandContext(t.Context(), "openssl", args...)
	command.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("openssl %s: %v: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}
