package keyfile_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"iter"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/cmd/provider-azure/internal/keyfile"
	"github.com/strongroom/strongroom/internal/azuretest/material"
)

// permutations are all orders of 0..n-1.
func permutations(n int) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		var extend func(done []int) bool
		extend = func(done []int) bool {
			if len(done) == n {
				return yield(done)
			}
			for i := range n {
				if !slices.Contains(done, i) && !extend(append(slices.Clip(done), i)) {
					return false
				}
			}
			return true
		}
		extend(nil)
	}
}

func newChain(t *testing.T, template material.Template) material.Chain {
	t.Helper()
	chain, err := of(template)()
	if err != nil {
		t.Fatal(err)
	}
	return chain
}

func ders(certs []*x509.Certificate) (out [][]byte) {
	for _, c := range certs {
		out = append(out, c.Raw)
	}
	return out
}

func same(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// TestOrderOfOneChain: whatever the order, the chain is the same, also out of a file.
func TestOrderOfOneChain(t *testing.T) {
	t.Parallel()
	for between := range 4 {
		for _, noID := range []bool{false, true} {
			chain := newChain(t, material.Template{Key: "ec-p256", Intermediates: between, NoSubjectKeyID: noID})
			want := ders(chain.Certificates)
			for places := range permutations(len(want)) {
				turned, err := chain.Ordered(places...)
				if err != nil {
					t.Fatal(err)
				}
				got, whole, err := keyfile.Order(ders(turned.Certificates))
				if err != nil || !whole || !same(got, want) {
					t.Errorf("%v: whole is %t, error %v", places, whole, err)
				}
				if between < 3 {
					checkFile(t, turned)
				}
			}
		}
	}
}

// checkFile: the order in a file is the one that its certificates were put into.
func checkFile(t *testing.T, chain material.Chain) {
	t.Helper()
	file, err := chain.PFX(material.AES, "")
	if err != nil {
		t.Fatal(err)
	}
	bundle, err := keyfile.FromPKCS12(base64.StdEncoding.EncodeToString(file))
	if err != nil {
		t.Fatal(err)
	}
	want, err := chain.PEM()
	if err != nil {
		t.Fatal(err)
	}
	if got := bundle.PEM(); !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestOrderOfNoChain: what is not one chain stays as it was, in every order.
func TestOrderOfNoChain(t *testing.T) {
	t.Parallel()
	long := newChain(t, material.Template{Key: "ec-p256", Intermediates: 2})
	two, err := twoLeaves()
	if err != nil {
		t.Fatal(err)
	}
	crossed, err := crossSigned()
	if err != nil {
		t.Fatal(err)
	}
	root := authority(t, "root", "root", "root")
	for name, certs := range map[string][]*x509.Certificate{
		"missing intermediate":             {long.Certificates[0], long.Certificates[2], long.Certificates[3]},
		"two leaves":                       two.Certificates,
		"cross-signed":                     crossed.Certificates,
		"duplicate leaf":                   append(long.Certificates[:2:2], long.Certificates[0]),
		"duplicate intermediate":           append(long.Certificates[:3:3], long.Certificates[1]),
		"duplicate root that names itself": {authority(t, "leaf", "leaf", "root"), root, root},
		"root twice and nothing else":      {root, root},
	} {
		for places := range permutations(len(certs)) {
			var turned [][]byte
			for _, i := range places {
				turned = append(turned, certs[i].Raw)
			}
			got, whole, err := keyfile.Order(turned)
			if err != nil || whole || !same(got, turned) {
				t.Errorf("%s in order %v: whole is %t, error %v", name, places, whole, err)
			}
		}
	}
}

// authority makes a certificate with these ids; nobody checks who has signed it.
func authority(t *testing.T, name, id, by string) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		SubjectKeyId: []byte(id), AuthorityKeyId: []byte(by),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestOrderOfRootThatNamesItself(t *testing.T) {
	t.Parallel()
	want := ders([]*x509.Certificate{authority(t, "leaf", "leaf", "ca"), authority(t, "ca", "ca", "root"), authority(t, "root", "root", "root")})
	for places := range permutations(3) {
		got, whole, err := keyfile.Order([][]byte{want[places[0]], want[places[1]], want[places[2]]})
		if err != nil || !whole || !same(got, want) {
			t.Errorf("%v: whole is %t, error %v", places, whole, err)
		}
	}
}

func TestOrderFails(t *testing.T) {
	t.Parallel()
	leaf, a, b := authority(t, "leaf", "leaf", "a"), authority(t, "a", "a", "b"), authority(t, "b", "b", "a")
	for name, c := range map[string]struct {
		certs [][]byte
		want  string
	}{
		"none":       {nil, "no leaf"},
		"all sign":   {ders([]*x509.Certificate{a, b}), "no leaf"},
		"circle":     {ders([]*x509.Certificate{b, leaf, a}), "circle"},
		"unreadable": {[][]byte{leaf.Raw, []byte("x")}, "certificate 2 of 2 cannot be read: x509: malformed certificate"},
	} {
		got, whole, err := keyfile.Order(c.certs)
		if err == nil || whole || got != nil || !strings.Contains(fmt.Sprint(err), c.want) {
			t.Errorf("%s: got %d certificates, whole is %t, error %v", name, len(got), whole, err)
		}
	}
}
