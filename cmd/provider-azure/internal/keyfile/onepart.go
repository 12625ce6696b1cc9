package keyfile

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"

	"software.sslmate.com/src/go-pkcs12"
)

// fromOnePart reads a file that has keys or certificates but not both, which the library
// does only if Java has marked it. So a second part is put beside the one there is:
// an empty one, or, if the attributes are not usual, one with a key, which is left out
// again. nil means that the file cannot be read so.
func fromOnePart(f file, only part) *Bundle {
	for _, password := range [][]byte{make([]byte, 2), nil} { // both are in use for an empty one
		made, err := addPart(f, only, nil, password)
		if err != nil {
			return nil
		}
		//nolint:staticcheck // see FromPKCS12
		if blocks, failed := pkcs12.ToPEM(made, ""); failed == nil {
			b, _ := fromBlocks(blocks) // nil with an error
			return b
		}
		if made, err = addPart(f, only, []bag{nobodys()}, password); err != nil {
			return nil
		}
		if _, leaf, others, err := pkcs12.DecodeChain(made, ""); err == nil {
			return &Bundle{Certs: raw(leaf, others)}
		}
	}
	return nil
}

// nobodys is a key that is public.
func nobodys() bag {
	key, _ := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))) // never fails
	return bag{Type: asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 12, 10, 1, 1}, Value: explicit(key)}
}

func addPart(f file, only part, bags []bag, password []byte) ([]byte, error) {
	content, err := asn1.Marshal(bags)
	if err != nil {
		return nil, err
	}
	second, err := data(content)
	if err != nil {
		return nil, err
	}
	if content, err = asn1.Marshal([]part{only, second}); err != nil {
		return nil, err
	}
	if f.AuthSafe, err = data(content); err != nil {
		return nil, err
	}
	f.Mac = seal(content, password)
	return asn1.Marshal(f)
}

func data(content []byte) (part, error) {
	octets, err := asn1.Marshal(content)
	return part{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 7, 1}, explicit(octets)}, err
}

func explicit(der []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: der}
}

// seal makes the MAC that says with which of the empty passwords the file was written.
// The original's was right, or the file would not have come here. (RFC 7292, B.2, with
// one round, for which one block is enough)
func seal(content, password []byte) (m mac) {
	const block = 64
	m.Salt, m.Rounds = make([]byte, 8), 1
	text := bytes.Repeat([]byte{3}, block)      // the key is for a MAC
	text = append(text, make([]byte, block)...) // the salt
	if len(password) > 0 {
		text = append(text, make([]byte, block)...) // the password, which is all zeros
	}
	key := sha256.Sum256(text)
	h := hmac.New(sha256.New, key[:])
	h.Write(content)
	m.Digest.Digest = h.Sum(nil)
	m.Digest.Algorithm = pkix.AlgorithmIdentifier{
		Algorithm: asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}, Parameters: asn1.NullRawValue,
	}
	return m
}
