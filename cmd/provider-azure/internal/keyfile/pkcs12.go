package keyfile

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// Bundle is what a certificate's secret holds: keys, in PKCS#8, and certificates, in DER.
type Bundle struct {
	Keys  [][]byte
	Certs [][]byte
}

// FromPKCS12 reads the base64 text of a PKCS#12 file without a password, as Key Vault
// gives it. A file without a key is fine: keys can be made not to be exported.
// (azure-contract 5.6)
func FromPKCS12(text string) (*Bundle, error) {
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil { // which may show a character of the value
		return nil, errors.New("the value of content type application/x-pkcs12 is not base64")
	}
	f, parts, err := open(data)
	if err != nil {
		return nil, errDamaged
	}
	if rounds(f, parts) > maxRounds {
		return nil, fmt.Errorf("the PKCS#12 file asks for more than %d rounds of hashing: write it anew with fewer iterations", maxRounds)
	}
	//nolint:staticcheck // the only call that reads several keys, or none; keys are encoded anew below
	blocks, err := pkcs12.ToPEM(data, "")
	if err == nil {
		return fromBlocks(blocks)
	}
	if errors.Is(err, pkcs12.ErrIncorrectPassword) {
		return nil, errors.New("the PKCS#12 file has a password: store it without one")
	}
	if key, leaf, others, failed := pkcs12.DecodeChain(data, ""); failed == nil { // any attributes, any key, one part or two
		b := &Bundle{Certs: raw(leaf, others)}
		return b, b.encodeKey(key)
	}
	if len(parts) == 1 {
		if b := fromOnePart(f, parts[0]); b != nil {
			return b, nil
		}
	}
	return nil, cause(err)
}

func fromBlocks(blocks []*pem.Block) (b *Bundle, err error) {
	b = &Bundle{}
	for _, block := range blocks {
		if block.Type == typeCert {
			b.Certs = append(b.Certs, block.Bytes)
		} else if err = b.addKey(block.Bytes); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func raw(leaf *x509.Certificate, others []*x509.Certificate) [][]byte {
	ders := [][]byte{leaf.Raw}
	for _, c := range others {
		ders = append(ders, c.Raw)
	}
	return ders
}

var errDamaged = errors.New("the PKCS#12 file cannot be read: it is damaged, or is not one")

// cause says why a file cannot be read. What the decoder says of its structure is left
// out, as it shows numbers that were read from it.
func cause(err error) error {
	if missing, ok := errors.AsType[pkcs12.NotImplementedError](err); ok {
		return fmt.Errorf("the PKCS#12 file cannot be read: %w", missing)
	}
	return errDamaged
}

// addKey takes a key in any of the forms that files have. (azure-contract 5.9)
func (b *Bundle) addKey(der []byte) error {
	key, err := parseKey(der)
	if err != nil {
		return err
	}
	return b.encodeKey(key)
}

func (b *Bundle) encodeKey(key any) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return errors.New("a key in the PKCS#12 file cannot be written as PKCS#8")
	}
	b.Keys = append(b.Keys, der)
	return nil
}

func parseKey(der []byte) (any, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	return nil, errors.New("a key in the PKCS#12 file is none of PKCS#1, PKCS#8 and SEC 1")
}

// PEM is all keys, then all certificates. (azure-contract 5.7)
func (b *Bundle) PEM() []byte {
	var out bytes.Buffer
	for _, key := range b.Keys {
		_ = pem.Encode(&out, &pem.Block{Type: typeKey, Bytes: key}) // a buffer takes everything
	}
	for _, c := range b.Certs {
		_ = pem.Encode(&out, &pem.Block{Type: typeCert, Bytes: c})
	}
	return out.Bytes()
}
