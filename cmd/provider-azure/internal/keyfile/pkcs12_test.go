package keyfile_test

import (
	"bytes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/cmd/provider-azure/internal/keyfile"
	"github.com/strongroom/strongroom/internal/azuretest/cloudtest"
	"github.com/strongroom/strongroom/internal/azuretest/material"
)

// The outside of a PKCS#12 file, to build what no program here writes.
type (
	info struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	digest struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	macData struct {
		Mac    digest
		Salt   []byte
		Rounds int `asn1:"optional,default:1"`
	}
	pdu struct {
		Version  int
		AuthSafe info
		Mac      macData `asn1:"optional"`
	}
)

func der(t *testing.T, v any) []byte {
	t.Helper()
	text, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func from(t *testing.T, text []byte, v any) {
	t.Helper()
	if rest, err := asn1.Unmarshal(text, v); err != nil || len(rest) > 0 {
		t.Fatalf("%v, %d bytes are left", err, len(rest))
	}
}

func explicit(content []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: content}
}

func dataInfo(t *testing.T, content []byte) info {
	t.Helper()
	return info{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}, explicit(der(t, content))}
}

// open takes a file apart.
func open(t *testing.T, file []byte) (parts []info) {
	t.Helper()
	var p pdu
	var content []byte
	from(t, file, &p)
	from(t, p.AuthSafe.Content.Bytes, &content)
	from(t, content, &parts)
	return parts
}

// file puts parts into a file without a MAC.
func file(t *testing.T, parts ...info) string {
	t.Helper()
	f := struct {
		Version  int
		AuthSafe info
	}{3, dataInfo(t, der(t, parts))}
	return base64.StdEncoding.EncodeToString(der(t, f))
}

// TestTwoKeys: keys come first, in the order of the file.
func TestTwoKeys(t *testing.T) {
	t.Parallel()
	var want, certs strings.Builder
	var bags []asn1.RawValue
	var first info
	for i, kind := range []string{"ec-p256", "rsa-2048"} {
		chain := newChain(t, material.Template{Key: kind, SelfSigned: true})
		made, err := chain.PFX(material.TripleDES, "")
		if err != nil {
			t.Fatal(err)
		}
		parts := open(t, made)
		if i == 0 {
			first = parts[0]
			certs.Write(keyfile.Certificate(chain.Certificates[0].Raw))
		}
		var content []byte
		var own []asn1.RawValue
		from(t, parts[1].Content.Bytes, &content)
		from(t, content, &own)
		bags = append(bags, own...)
		key, err := material.KeyPEM(chain.Key)
		if err != nil {
			t.Fatal(err)
		}
		want.Write(key)
	}
	bundle, err := keyfile.FromPKCS12(file(t, dataInfo(t, der(t, bags)), first))
	if err != nil {
		t.Fatal(err)
	}
	if got := string(bundle.PEM()); got != want.String()+certs.String() {
		t.Errorf("got\n%s\nwant\n%s%s", got, want.String(), certs.String())
	}
}

// derive is the key derivation of PKCS#12 for a password of no bytes at all, which some
// programs take for an empty one. (RFC 7292, B.2)
func derive(salt []byte, id byte, size int) (out []byte) {
	const block = 64
	salted := slices.Repeat(salt, block/len(salt))
	for len(out) < size {
		sum := sha1.Sum(append(bytes.Repeat([]byte{id}, block), salted...))
		out = append(out, sum[:]...)
		b := new(big.Int).SetBytes(slices.Repeat(sum[:], 4)[:block])
		b.Add(b, big.NewInt(1)).Add(b, new(big.Int).SetBytes(salted))
		b.Mod(b, new(big.Int).Lsh(big.NewInt(1), block*8))
		b.FillBytes(salted)
	}
	return out[:size]
}

// TestNoPasswordAtAll: a file of certificates that was encrypted with no bytes instead
// of with the two zeros that stand for an empty text.
func TestNoPasswordAtAll(t *testing.T) {
	t.Parallel()
	cloudtest.NeedOpenSSL(t)
	chain := newChain(t, material.Template{Key: "ec-p256"})
	plain, err := chain.WithoutKey().OpenSSLPFX(t.Context(), material.Plain, "")
	if err != nil {
		t.Fatal(err)
	}
	var bags []byte
	from(t, open(t, plain)[0].Content.Bytes, &bags)
	salt := []byte("saltsalt")
	block, err := des.NewTripleDESCipher(derive(salt, 1, 24))
	if err != nil {
		t.Fatal(err)
	}
	pad := 8 - len(bags)%8
	bags = append(bags, bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, derive(salt, 2, 8)).CryptBlocks(bags, bags)
	type content struct {
		Type      asn1.ObjectIdentifier
		Algorithm pkix.AlgorithmIdentifier
		Content   []byte `asn1:"tag:0"`
	}
	parameters := der(t, struct {
		Salt   []byte
		Rounds int
	}{salt, 1})
	sealed := der(t, []info{{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 6}, explicit(der(t, struct {
		Version int
		Content content
	}{0, content{
		asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1},
		pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 1, 3}, Parameters: asn1.RawValue{FullBytes: parameters}},
		bags,
	}}))}})
	mac := hmac.New(sha1.New, derive(salt, 3, 20))
	mac.Write(sealed)
	made := der(t, pdu{3, dataInfo(t, sealed), macData{
		digest{pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}, Parameters: asn1.NullRawValue}, mac.Sum(nil)}, salt, 1,
	}})
	bundle, err := keyfile.FromPKCS12(base64.StdEncoding.EncodeToString(made))
	if err != nil {
		t.Fatal(err)
	}
	want, err := chain.WithoutKey().PEM()
	if err != nil {
		t.Fatal(err)
	}
	if got := bundle.PEM(); !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestCertificatesWithAttributes: certificates alone, with an attribute of Windows that
// the library does not know.
func TestCertificatesWithAttributes(t *testing.T) {
	t.Parallel()
	chain := newChain(t, material.Template{Key: "ec-p256"}).WithoutKey()
	type attribute struct {
		Type  asn1.ObjectIdentifier
		Value []asn1.RawValue `asn1:"set"`
	}
	type certBag struct {
		Type asn1.ObjectIdentifier
		Data []byte `asn1:"tag:0,explicit"`
	}
	type bag struct {
		Type       asn1.ObjectIdentifier
		Value      asn1.RawValue
		Attributes []attribute `asn1:"set"`
	}
	var bags []bag
	for _, c := range chain.Certificates {
		bags = append(bags, bag{
			asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 3},
			explicit(der(t, certBag{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 22, 1}, c.Raw})),
			[]attribute{{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 17, 3, 20}, []asn1.RawValue{asn1.NullRawValue}}},
		})
	}
	bundle, err := keyfile.FromPKCS12(file(t, dataInfo(t, der(t, bags))))
	if err != nil {
		t.Fatal(err)
	}
	if !same(bundle.Certs, ders(chain.Certificates)) || len(bundle.Keys) > 0 {
		t.Errorf("%d keys, and certificates\n%s", len(bundle.Keys), bundle.PEM())
	}
}

// TestFromPKCS12Fails: the error says why, and shows nothing that was read.
func TestFromPKCS12Fails(t *testing.T) {
	t.Parallel()
	whole := strings.TrimSpace(string(read(t, "go-aes.pfx")))
	bytesOf, err := base64.StdEncoding.DecodeString(whole)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ in, want string }{
		"nothing":         {"", "damaged"},
		"not base64":      {"s3cret!", "application/x-pkcs12 is not base64"},
		"no padding":      {strings.TrimRight(base64.StdEncoding.EncodeToString(append(bytesOf, 0)), "=") + "A", "is not base64"},
		"any text":        {base64.StdEncoding.EncodeToString([]byte("s3cret s3cret s3cret")), "damaged"},
		"PEM":             {base64.StdEncoding.EncodeToString(read(t, "go-aes.pem")), "damaged"},
		"cut short":       {base64.StdEncoding.EncodeToString(bytesOf[:len(bytesOf)-1]), "damaged"},
		"bytes after":     {base64.StdEncoding.EncodeToString(append(slices.Clip(bytesOf), 0)), "damaged"},
		"one byte is off": {base64.StdEncoding.EncodeToString(flip(bytesOf, len(bytesOf)/2)), "password"}, // what the MAC is for
	} {
		if got, err := keyfile.FromPKCS12(c.in); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: error %v, want %s; got %v", name, err, c.want, got)
		}
	}
}

func flip(b []byte, at int) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

// TestWhiteSpace: a text that was uploaded from a file may have lines.
func TestWhiteSpace(t *testing.T) {
	t.Parallel()
	want := read(t, "go-aes.pem")
	text := strings.TrimSpace(string(read(t, "go-aes.pfx")))
	for _, in := range []string{text, " \n" + text + "\n\n", text[:64] + "\r\n" + text[64:128] + "\n" + text[128:]} {
		bundle, err := keyfile.FromPKCS12(in)
		if err != nil || !bytes.Equal(bundle.PEM(), want) {
			t.Errorf("error %v", err)
		}
	}
}
