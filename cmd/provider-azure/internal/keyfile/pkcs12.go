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

// Types of PEM blocks.
const (
	typeKey    = "PRIVATE KEY"
	typeCert   = "CERTIFICATE"
	typePublic = "PUBLIC KEY"
)

// Bundle is what a certificate's secret holds: keys, in PKCS#8, and certificates.
type Bundle struct {
	Keys  [][]byte
	Certs []*x509.Certificate
}

// FromPKCS12 reads the base64 text of a PKCS#12 file without a password, as Key Vault
// gives it. A file without a key is fine: keys can be made not to be exported.
// (azure-contract 5.6)
func FromPKCS12(text string) (*Bundle, error) {
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil {
		return nil, errors.New("the value of content type application/x-pkcs12 is not base64")
	}
	//nolint:staticcheck // the only call that reads files of any shape; keys are encoded anew below
	blocks, err := pkcs12.ToPEM(data, "")
	if err != nil {
		return fromChain(data, err)
	}
	b := &Bundle{}
	for _, block := range blocks {
		if block.Type == typeCert {
			err = b.addCert(block.Bytes)
		} else {
			err = b.addKey(block.Bytes)
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

// fromChain reads files that have everything in one part.
func fromChain(data []byte, first error) (*Bundle, error) {
	key, leaf, others, err := pkcs12.DecodeChain(data, "")
	if err != nil {
		if certs, err := pkcs12.DecodeTrustStore(data, ""); err == nil {
			return &Bundle{Certs: certs}, nil
		}
		return nil, fmt.Errorf("the PKCS#12 file cannot be read: %w", first)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("the key in the PKCS#12 file cannot be written: %w", err)
	}
	return &Bundle{Keys: [][]byte{der}, Certs: append([]*x509.Certificate{leaf}, others...)}, nil
}

func (b *Bundle) addCert(der []byte) error {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return fmt.Errorf("a certificate in the PKCS#12 file cannot be read: %w", err)
	}
	b.Certs = append(b.Certs, c)
	return nil
}

// addKey takes a key in any of the forms that files have. (azure-contract 5.9)
func (b *Bundle) addKey(der []byte) error {
	key, err := parseKey(der)
	if err != nil {
		return err
	}
	if der, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
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
		_ = pem.Encode(&out, &pem.Block{Type: typeCert, Bytes: c.Raw})
	}
	return out.Bytes()
}

// Split returns the certificates of a PEM text, and everything else in it.
// (azure-contract 5.12)
func Split(text []byte) (certs, others []byte) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return certs, others
		}
		encoded := pem.EncodeToMemory(block)
		if block.Type == typeCert {
			certs = append(certs, encoded...)
		} else {
			others = append(others, encoded...)
		}
	}
}
