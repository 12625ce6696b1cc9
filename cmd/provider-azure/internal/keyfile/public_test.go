package keyfile_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/cmd/provider-azure/internal/keyfile"
	"github.com/strongroom/strongroom/internal/azuretest/cloudtest"
	"github.com/strongroom/strongroom/internal/azuretest/material"
)

// byOpenSSL is the public part of a key as openssl writes it.
func byOpenSSL(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	cloudtest.NeedOpenSSL(t)
	text, err := material.KeyPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	return openssl(t, text, "pkey", "-pubout")
}

func padded(b []byte) []byte { return append(make([]byte, 3), b...) }

func TestRSA(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"rsa-2048", "rsa-3072", "rsa-4096"} {
		signer, err := material.NewKey(kind)
		if err != nil {
			t.Fatal(err)
		}
		key := signer.(*rsa.PrivateKey)
		n, e, want := key.N.Bytes(), big.NewInt(int64(key.E)).Bytes(), byOpenSSL(t, key)
		for form, numbers := range map[string][2][]byte{"bare": {n, e}, "padded": {padded(n), padded(e)}} {
			if got, err := keyfile.RSA(numbers[0], numbers[1]); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %s: error %v, got\n%s\nwant\n%s", kind, form, err, got, want)
			}
		}
	}
}

func TestRSAFails(t *testing.T) {
	t.Parallel()
	n, e := bytes.Repeat([]byte{0xff}, 256), []byte{1, 0, 1}
	for name, numbers := range map[string][2][]byte{
		"no modulus": {nil, e}, "no exponent": {n, nil}, "nothing": {nil, nil},
		"modulus of zeros": {make([]byte, 256), e}, "exponent of zeros": {n, make([]byte, 3)},
		"exponent 1": {n, []byte{1}}, "exponent of 33 bits": {n, []byte{1, 0, 0, 0, 1}}, "exponent of 80 bits": {n, bytes.Repeat([]byte{1}, 10)},
		"modulus without end": {bytes.Repeat([]byte{1}, 1<<20), e},
	} {
		if got, err := keyfile.RSA(numbers[0], numbers[1]); err == nil {
			t.Errorf("%s: got\n%.200s", name, got)
		}
	}
}

// shortKey has coordinates that both begin with a zero byte, or one of them.
func shortKey(t *testing.T, kind string, fits func(x, y bool) bool) *ecdsa.PrivateKey {
	t.Helper()
	for {
		signer, err := material.NewKey(kind)
		if err != nil {
			t.Fatal(err)
		}
		key := signer.(*ecdsa.PrivateKey)
		if x, y := coordinates(t, key); fits(x[0] == 0, y[0] == 0) {
			return key
		}
	}
}

// coordinates are as long as the curve is wide.
func coordinates(t *testing.T, key *ecdsa.PrivateKey) (x, y []byte) {
	t.Helper()
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	size := (len(point) - 1) / 2
	return point[1 : 1+size], point[1+size:]
}

func TestEC(t *testing.T) {
	t.Parallel()
	curves := map[string]string{"ec-p256": "P-256", "ec-p384": "P-384", "ec-p521": "P-521"}
	for kind, curve := range curves {
		for name, fits := range map[string]func(x, y bool) bool{
			"full":    func(x, y bool) bool { return !x && !y || kind == "ec-p521" }, // 521 bits begin with 7 zeros
			"short x": func(x, _ bool) bool { return x },
			"short y": func(_, y bool) bool { return y },
		} {
			key := shortKey(t, kind, fits)
			x, y := coordinates(t, key)
			want := byOpenSSL(t, key)
			for form, parts := range map[string][2][]byte{
				"as wide as the curve": {x, y},
				"without zeros":        {bytes.TrimLeft(x, "\x00"), bytes.TrimLeft(y, "\x00")},
				"with more zeros":      {padded(x), padded(y)},
			} {
				if got, err := keyfile.EC(curve, parts[0], parts[1]); err != nil || !bytes.Equal(got, want) {
					t.Errorf("%s, %s, %s: error %v, got\n%s\nwant\n%s", curve, name, form, err, got, want)
				}
			}
		}
	}
}

func TestECFails(t *testing.T) {
	t.Parallel()
	signer, err := material.NewKey("ec-p256")
	if err != nil {
		t.Fatal(err)
	}
	x, y := coordinates(t, signer.(*ecdsa.PrivateKey))
	for name, c := range map[string]struct {
		curve string
		x, y  []byte
		want  string
	}{
		"P-256K":          {"P-256K", x, y, `curve "P-256K" is not one of P-256, P-384 and P-521`},
		"no curve":        {"", x, y, `curve "" is not one of`},
		"any curve":       {strings.Repeat("s", 100), x, y, `curve "` + strings.Repeat("s", 40) + `" is not`},
		"another curve":   {"P-384", x, y, "not a point of its curve"},
		"no x":            {"P-256", nil, y, "not a point of its curve"},
		"no y":            {"P-256", x, nil, "not a point of its curve"},
		"nothing":         {"P-256", nil, nil, "not a point of its curve"},
		"x for y":         {"P-256", y, x, "not a point of its curve"},
		"x too long":      {"P-256", append([]byte{1}, x...), y, "too long"},
		"y too long":      {"P-256", x, append([]byte{1}, y...), "too long"},
		"larger than all": {"P-256", slices.Repeat([]byte{0xff}, 32), y, "not a point of its curve"},
	} {
		if got, err := keyfile.EC(c.curve, c.x, c.y); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s; got %s", name, err, c.want, got)
		}
	}
}

// TestCertificate: as openssl writes it.
func TestCertificate(t *testing.T) {
	t.Parallel()
	der := newChain(t, material.Template{Key: "ec-p256", SelfSigned: true}).Certificates[0].Raw
	cloudtest.NeedOpenSSL(t)
	if got, want := keyfile.Certificate(der), openssl(t, der, "x509", "-inform", "DER"); !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
