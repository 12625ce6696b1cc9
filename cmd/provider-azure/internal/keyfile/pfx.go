package keyfile

import (
	"crypto/x509/pkix"
	"encoding/asn1"
)

// file is a PKCS#12 file as far as it can be seen without its password. (RFC 7292)
type file struct {
	Version  int
	AuthSafe part
	Mac      mac `asn1:"optional"`
}

type part struct {
	Type    asn1.ObjectIdentifier
	Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
}

type mac struct {
	Digest struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	Salt   []byte
	Rounds int `asn1:"optional,default:1"`
}

type encrypted struct {
	Version int
	Content struct {
		Type      asn1.ObjectIdentifier
		Algorithm pkix.AlgorithmIdentifier
		Content   []byte `asn1:"tag:0,optional"`
	}
}

type bag struct {
	Type       asn1.ObjectIdentifier
	Value      asn1.RawValue   `asn1:"tag:0,explicit"`
	Attributes []asn1.RawValue `asn1:"set,optional"`
}

type encryptedKey struct {
	Algorithm pkix.AlgorithmIdentifier
	Key       []byte
}

// open reads the outside of a file.
func open(data []byte) (f file, parts []part, err error) {
	if _, err = asn1.Unmarshal(data, &f); err != nil {
		return f, nil, err
	}
	var content asn1.RawValue
	if _, err = asn1.Unmarshal(f.AuthSafe.Content.Bytes, &content); err != nil {
		return f, nil, err
	}
	_, err = asn1.Unmarshal(content.Bytes, &parts)
	return f, parts, err
}

// maxRounds is some seconds of work. Programs write 2,000 to 50,000, the careful ones a
// million.
const maxRounds = 5_000_000

// rounds is how often a file wants a password hashed. The library does any number of
// them, and nothing can stop it. What is encrypted cannot be seen; no program puts a
// key with a password of its own there.
func rounds(f file, parts []part) int {
	total := add(f.Mac.Rounds, roundsOf(f.Mac.Digest.Algorithm))
	for _, p := range parts {
		var secret encrypted
		var content []byte
		var bags []bag
		if _, err := asn1.Unmarshal(p.Content.Bytes, &secret); err == nil {
			total = add(total, roundsOf(secret.Content.Algorithm))
		} else if _, err = asn1.Unmarshal(p.Content.Bytes, &content); err == nil {
			_, _ = asn1.Unmarshal(content, &bags) // what cannot be read has no rounds
		}
		for _, b := range bags {
			var key encryptedKey
			if _, err := asn1.Unmarshal(b.Value.Bytes, &key); err == nil {
				total = add(total, roundsOf(key.Algorithm))
			}
		}
	}
	return total
}

// roundsOf takes the number after each salt in the parameters of an algorithm.
func roundsOf(a pkix.AlgorithmIdentifier) int { return afterSalts(a.Parameters.FullBytes, 8) }

func afterSalts(der []byte, depth int) (total int) {
	for salted := false; len(der) > 0; {
		var v asn1.RawValue
		rest, err := asn1.Unmarshal(der, &v)
		if err != nil {
			break
		}
		if n := 0; salted && v.Class == asn1.ClassUniversal && v.Tag == asn1.TagInteger {
			if _, err := asn1.Unmarshal(v.FullBytes, &n); err == nil { // the library's numbers are as large
				total = add(total, n)
			}
		}
		if salted = v.Tag == asn1.TagOctetString; v.IsCompound && depth > 0 {
			total = add(total, afterSalts(v.Bytes, depth-1))
		}
		der = rest
	}
	return total
}

// add cannot overflow.
func add(a, b int) int { return min(max(a, 0), maxRounds+1) + min(max(b, 0), maxRounds+1) }
