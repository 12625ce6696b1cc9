package secretdata

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/provider"
)

// key is a private key of a kind that TLS uses.
type key struct{ crypto.Signer }

// privateKey is the last private key of a file.
func privateKey(f provider.File) (key, error) {
	var last *pem.Block
	isPEM := false
	for block, rest := pem.Decode(f.Contents); block != nil; block, rest = pem.Decode(rest) {
		isPEM = true
		if strings.HasSuffix(block.Type, "PRIVATE KEY") { // EC PARAMETERS say nothing that the key does not
			last = block
		}
	}
	switch {
	case last != nil:
		k, err := parseBlock(last)
		if err != nil {
			return key{}, fmt.Errorf("the private key in file %q %w", f.Path, err)
		}
		return k, nil
	case isPEM:
		return key{}, fmt.Errorf("file %q has PEM blocks, but none is a private key", f.Path)
	}
	archive, err := openArchive(f, false)
	return archive.key, err
}

func parseBlock(block *pem.Block) (key, error) {
	if strings.HasPrefix(block.Type, "ENCRYPTED ") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
		return key{}, errors.New("is encrypted: store it without a passphrase")
	}
	for _, parse := range []func([]byte) (any, error){
		func(der []byte) (any, error) { return x509.ParsePKCS1PrivateKey(der) },
		x509.ParsePKCS8PrivateKey,
		func(der []byte) (any, error) { return x509.ParseECPrivateKey(der) },
	} {
		if parsed, err := parse(block.Bytes); err == nil {
			return keyOf(parsed)
		}
	}
	return key{}, errors.New("cannot be parsed as PKCS#1, PKCS#8 or SEC 1")
}

func keyOf(parsed any) (key, error) {
	switch k := parsed.(type) {
	case *rsa.PrivateKey:
		return key{k}, nil
	case *ecdsa.PrivateKey:
		return key{k}, nil
	case ed25519.PrivateKey:
		return key{k}, nil
	}
	return key{}, errors.New("is none of RSA, ECDSA and Ed25519")
}

// fits says whether the key is that of a certificate.
func (k key) fits(cert *x509.Certificate) bool {
	public, ok := k.Public().(interface{ Equal(x crypto.PublicKey) bool })
	return ok && public.Equal(cert.PublicKey)
}

// encode writes the key as most programs expect one of its kind.
func (k key) encode() ([]byte, error) {
	block := &pem.Block{}
	var err error
	switch private := k.Signer.(type) {
	case *rsa.PrivateKey:
		block.Type, block.Bytes = "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private)
	case *ecdsa.PrivateKey:
		block.Type = "EC PRIVATE KEY"
		block.Bytes, err = x509.MarshalECPrivateKey(private)
	default:
		block.Type = "PRIVATE KEY"
		block.Bytes, err = x509.MarshalPKCS8PrivateKey(private)
	}
	if err != nil {
		return nil, errors.New("the private key cannot be encoded")
	}
	return pem.EncodeToMemory(block), nil
}
