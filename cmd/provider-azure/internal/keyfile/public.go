package keyfile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
)

// Certificate is the PEM text of one certificate in DER. (azure-contract 5.16)
func Certificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: typeCert, Bytes: der})
}

// maxModulus is in bits; Key Vault's keys have 4,096 at most.
const maxModulus = 16384

// RSA is the PEM text of a public key. (azure-contract 5.15)
func RSA(n, e []byte) ([]byte, error) {
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e)
	if modulus.Sign() == 0 || modulus.BitLen() > maxModulus || !exponent.IsInt64() || exponent.Int64() < 2 || exponent.Int64() > 1<<31-1 {
		return nil, errors.New("the RSA key has no modulus, or a modulus or an exponent that is not usual")
	}
	return public(&rsa.PublicKey{N: modulus, E: int(exponent.Int64())})
}

// EC is the PEM text of a public key on the curve of a JSON web key.
func EC(curve string, x, y []byte) ([]byte, error) {
	c, ok := map[string]elliptic.Curve{"P-256": elliptic.P256(), "P-384": elliptic.P384(), "P-521": elliptic.P521()}[curve]
	if !ok {
		return nil, fmt.Errorf("the curve %.40q is not one of P-256, P-384 and P-521", curve)
	}
	size := (c.Params().BitSize + 7) / 8
	point := make([]byte, 1+2*size)
	point[0] = 4 // not compressed
	for i, part := range [][]byte{x, y} {
		part = new(big.Int).SetBytes(part).Bytes() // without leading zeros
		if len(part) > size {
			return nil, errors.New("a coordinate of the EC key is too long for its curve")
		}
		copy(point[1+(i+1)*size-len(part):], part)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(c, point)
	if err != nil {
		return nil, errors.New("the EC key is not a point of its curve")
	}
	return public(key)
}

func public(key any) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, fmt.Errorf("the public key cannot be written: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: typePublic, Bytes: der}), nil
}
