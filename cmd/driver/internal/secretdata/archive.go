package secretdata

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/strongroom/strongroom/provider"
)

// maxIterations bounds the work that an archive asks for; tools use 2,048 to 600,000.
const maxIterations = 1_000_000

// archive is what a PKCS#12 file holds.
type archive struct {
	key   key
	certs []*x509.Certificate
}

// openArchive reads a PKCS#12 file that has no password. One without a key, such as a
// trust store of Java, will do if only certificates are wanted.
func openArchive(f provider.File, noKey bool) (archive, error) {
	if !isSequence(f.Contents) {
		return archive{}, fmt.Errorf("file %q %w", f.Path, errNotTLS)
	}
	if mostIterations(f.Contents, 0) > maxIterations {
		return archive{}, fmt.Errorf("PKCS#12 file %q asks for more than %d iterations", f.Path, maxIterations)
	}
	private, leaf, rest, err := pkcs12.DecodeChain(f.Contents, "")
	if err != nil && noKey {
		if certs, trustErr := pkcs12.DecodeTrustStore(f.Contents, ""); trustErr == nil && len(certs) > 0 {
			return archive{certs: certs}, nil
		}
	}
	if err != nil {
		return archive{}, fmt.Errorf("PKCS#12 file %q %s", f.Path, whyNot(err))
	}
	k, err := keyOf(private)
	if err != nil {
		return archive{}, fmt.Errorf("the private key in PKCS#12 file %q %w", f.Path, err)
	}
	return archive{key: k, certs: append([]*x509.Certificate{leaf}, rest...)}, nil
}

// whyNot puts an error of the library into words that repeat no content.
func whyNot(err error) string {
	missing, isMissing := errors.AsType[pkcs12.NotImplementedError](err)
	switch {
	case errors.Is(err, pkcs12.ErrIncorrectPassword), errors.Is(err, pkcs12.ErrDecryption):
		return "has a password: store it without one"
	case isMissing:
		return "cannot be read: " + string(missing)
	}
	return "cannot be read: it must be PKCS#12 in DER with one private key and its certificate"
}

func isSequence(der []byte) bool {
	var outer asn1.RawValue
	_, err := asn1.Unmarshal(der, &outer)
	return err == nil && outer.Class == asn1.ClassUniversal && outer.Tag == asn1.TagSequence && outer.IsCompound
}
