package azure

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azkeys"

	"github.com/strongroom/strongroom/cmd/provider-azure/internal/keyfile"
	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/provider"
)

// Content types of the secrets of certificates.
const (
	typePEM    = "application/x-pem-file"
	typePKCS12 = "application/x-pkcs12"
)

// file is a file before it has a mode.
type file struct {
	path    string
	content []byte
}

// renderer makes files as the operator wants them.
type renderer struct {
	orderChain bool // of PKCS#12 files
	orderPEM   bool // also of secrets that are PEM in the vault
	separate   bool // .crt and .key beside the secret of a certificate
	// warn is told what passes and may not be meant; it may be nil.
	warn func(text string)
}

// render makes the files of one version of an object. (azure-contract 5)
func (r *renderer) render(o *azureclass.Object, path string, b *bundle) ([]file, error) {
	content, err := r.content(o, b)
	if err != nil {
		return nil, err
	}
	files := []file{{path, content}}
	if r.separate && o.Type == azureclass.Secret && b.backed && !isPFX(o, b) {
		certs, key := keyfile.Split(content)
		files = append([]file{{path + ".crt", certs}, {path + ".key", key}}, files...)
	}
	for i := range files {
		if files[i].content, err = decode(o, files[i].content); err != nil {
			return nil, err
		}
	}
	return files, nil
}

func (r *renderer) content(o *azureclass.Object, b *bundle) ([]byte, error) {
	switch o.Type {
	case azureclass.Key:
		return publicKey(b.key)
	case azureclass.Cert:
		return keyfile.Certificate(b.cert), nil
	}
	return r.secret(o, b)
}

func (r *renderer) secret(o *azureclass.Object, b *bundle) ([]byte, error) {
	switch {
	case !b.backed, isPFX(o, b):
		return []byte(b.value), nil
	case b.contentType == typePEM && !r.orderPEM:
		return []byte(b.value), nil
	case b.contentType == typePEM:
		text, whole := keyfile.OrderPEM(b.value)
		if !whole {
			r.note("the secret " + o.ID() + " is not PEM with one chain of certificates alone: it stays as it is in the vault")
		}
		return []byte(text), nil
	case b.contentType == typePKCS12:
		return r.unpack(o, b.value)
	}
	return nil, provider.Errorf(provider.Invalid, "content type %q of the certificate's secret is neither %s nor %s",
		strings.ToValidUTF8(b.contentType[:min(len(b.contentType), 60)], ""), typePEM, typePKCS12)
}

// isPFX says whether the file is the base64 text of a PKCS#12 file, as the vault has it.
func isPFX(o *azureclass.Object, b *bundle) bool {
	return b.contentType == typePKCS12 && o.Format == azureclass.PFX
}

// unpack writes a PKCS#12 file as PEM. One without certificates has nothing to order.
func (r *renderer) unpack(o *azureclass.Object, value string) ([]byte, error) {
	files, err := keyfile.FromPKCS12(value)
	if err != nil {
		return nil, provider.Errorf(provider.Invalid, "%w", err)
	}
	if r.orderChain && len(files.Certs) > 0 {
		ordered, whole, err := keyfile.Order(files.Certs)
		if err != nil {
			return nil, provider.Errorf(provider.Invalid, "%w", err)
		}
		if !whole {
			r.note("the certificates of " + o.ID() + " are not one chain: they stay in the order of the vault")
		}
		files.Certs = ordered
	}
	return files.PEM(), nil
}

func (r *renderer) note(text string) {
	if r.warn != nil {
		r.warn(text)
	}
}

func publicKey(k *azkeys.JSONWebKey) ([]byte, error) {
	if k == nil || k.Kty == nil {
		return nil, provider.Errorf(provider.Invalid, "the reply of Key Vault names no type of the key")
	}
	var text []byte
	var err error
	switch *k.Kty {
	case azkeys.KeyTypeRSA, azkeys.KeyTypeRSAHSM:
		text, err = keyfile.RSA(k.N, k.E)
	case azkeys.KeyTypeEC, azkeys.KeyTypeECHSM:
		curve := ""
		if k.Crv != nil {
			curve = string(*k.Crv)
		}
		text, err = keyfile.EC(curve, k.X, k.Y)
	default:
		err = fmt.Errorf("a key of type %.20q has no public part: use an RSA or EC key", string(*k.Kty))
	}
	if err != nil {
		return nil, provider.Errorf(provider.Invalid, "%w", err)
	}
	return text, nil
}

// decode applies objectEncoding. (azure-contract 5.17)
func decode(o *azureclass.Object, text []byte) (out []byte, err error) {
	switch o.Encoding {
	case azureclass.Base64:
		out, err = base64.StdEncoding.DecodeString(string(text))
	case azureclass.Hex:
		out, err = hex.DecodeString(string(text))
	default:
		return text, nil
	}
	if err != nil { // the decoder's error may show a character of the value
		return nil, provider.Errorf(provider.Invalid, "the value is not %s, as objectEncoding says", o.Encoding)
	}
	return out, nil
}
