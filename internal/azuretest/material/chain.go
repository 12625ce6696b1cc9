package material

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// NewKey makes a key: rsa-2048, rsa-3072, rsa-4096, ec-p256, ec-p384, ec-p521, ed25519.
func NewKey(kind string) (crypto.Signer, error) {
	switch kind {
	case "rsa-2048", "":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "rsa-3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "rsa-4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	case "ec-p256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ec-p384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ec-p521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "ed25519":
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	default:
		return nil, fmt.Errorf("unknown kind of key %q", kind)
	}
}

// Template says what a chain looks like.
type Template struct {
	// Name is the subject of the leaf, and a DNS name of it.
	Name string `json:"name"`
	// Key is the kind of the leaf's key, see NewKey.
	Key string `json:"key,omitempty"`
	// Intermediates is how many there are between the leaf and its root.
	Intermediates int `json:"intermediates,omitempty"`
	// SelfSigned is a leaf that is all there is.
	SelfSigned bool `json:"selfSigned,omitempty"`
	// NoSubjectKeyID leaves that extension out of the leaf.
	NoSubjectKeyID bool `json:"noSubjectKeyID,omitempty"`
}

// Chain is the key of a leaf, and certificates: leaf, intermediates, root, unless they
// were put into another order. Key may be nil.
type Chain struct {
	Key          crypto.Signer
	Certificates []*x509.Certificate
}

// NewChain makes one.
func NewChain(t Template) (Chain, error) {
	key, err := NewKey(t.Key)
	if err != nil {
		return Chain{}, err
	}
	template := leaf(t.Name)
	template.DNSNames = []string{t.Name}
	if template.SubjectKeyId, err = t.keyID(key.Public()); err != nil {
		return Chain{}, err
	}
	above, signer := []*x509.Certificate(nil), key
	parent := template
	if !t.SelfSigned {
		if above, signer, err = parents(t); err != nil {
			return Chain{}, err
		}
		parent = above[0]
	}
	certificate, err := sign(template, parent, key.Public(), signer)
	if err != nil {
		return Chain{}, fmt.Errorf("sign %s: %w", t.Name, err)
	}
	return Chain{Key: key, Certificates: append([]*x509.Certificate{certificate}, above...)}, nil
}

// NewCrossSigned makes a chain whose intermediate has been signed by two roots: leaf,
// intermediate by the one, by the other, the one root, the other.
func NewCrossSigned(name, kind string) (Chain, error) {
	key, err := NewKey(kind)
	if err != nil {
		return Chain{}, err
	}
	between, err := NewKey("ec-p256")
	if err != nil {
		return Chain{}, err
	}
	var middle, roots []*x509.Certificate
	for i := range 2 {
		root, failed := NewCA(fmt.Sprintf("Root %d of %s", i+1, name))
		if failed != nil {
			return Chain{}, failed
		}
		certificate, failed := sign(authority("Intermediate of "+name), root.certificate, between.Public(), root.key)
		if failed != nil {
			return Chain{}, fmt.Errorf("sign the intermediate of %s: %w", name, failed)
		}
		middle, roots = append(middle, certificate), append(roots, root.certificate)
	}
	certificate, err := sign(leaf(name), middle[0], key.Public(), between)
	if err != nil {
		return Chain{}, fmt.Errorf("sign %s: %w", name, err)
	}
	return Chain{Key: key, Certificates: append(append([]*x509.Certificate{certificate}, middle...), roots...)}, nil
}

func (t Template) keyID(public crypto.PublicKey) ([]byte, error) {
	if t.NoSubjectKeyID {
		return nil, nil
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("encode the key of %s: %w", t.Name, err)
	}
	sum := sha256.Sum256(der)
	return sum[:20], nil
}

// parents are the issuers of the leaf, nearest first, and the key of the nearest.
func parents(t Template) ([]*x509.Certificate, crypto.Signer, error) {
	root, err := NewCA("Root of " + t.Name)
	if err != nil {
		return nil, nil, err
	}
	chain, signer := []*x509.Certificate{root.certificate}, root.key
	for i := range t.Intermediates {
		next, err := NewKey("ec-p256")
		if err != nil {
			return nil, nil, err
		}
		certificate, err := sign(authority(fmt.Sprintf("Intermediate %d of %s", i+1, t.Name)), chain[0], next.Public(), signer)
		if err != nil {
			return nil, nil, fmt.Errorf("sign intermediate %d of %s: %w", i+1, t.Name, err)
		}
		chain, signer = append([]*x509.Certificate{certificate}, chain...), next
	}
	return chain, signer, nil
}

// Ordered has the certificates of these places, in this order; a place may be left out
// or be there twice.
func (c Chain) Ordered(places ...int) (Chain, error) {
	out := Chain{Key: c.Key}
	for _, place := range places {
		if place < 0 || place >= len(c.Certificates) {
			return out, fmt.Errorf("the chain has no certificate at place %d", place)
		}
		out.Certificates = append(out.Certificates, c.Certificates[place])
	}
	return out, nil
}

// WithoutKey has the certificates alone.
func (c Chain) WithoutKey() Chain { return Chain{Certificates: c.Certificates} }

// PEM is the key, as PKCS #8, and then the certificates.
func (c Chain) PEM() ([]byte, error) {
	var out bytes.Buffer
	if c.Key != nil {
		key, err := KeyPEM(c.Key)
		if err != nil {
			return nil, err
		}
		out.Write(key)
	}
	for _, certificate := range c.Certificates {
		out.Write(encode(certificate))
	}
	return out.Bytes(), nil
}

// KeyPEM is a private key as PKCS #8.
func KeyPEM(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode a private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
