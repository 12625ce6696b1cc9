package secretdata

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"

	"github.com/strongroom/strongroom/provider"
)

const certificateBlock = "CERTIFICATE"

// certificates are all certificates of a file, at least one, none twice.
func certificates(f provider.File) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	isPEM := false
	for block, rest := pem.Decode(f.Contents); block != nil; block, rest = pem.Decode(rest) {
		isPEM = true
		if block.Type != certificateBlock {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil { // its text may repeat content
			return nil, fmt.Errorf("certificate %d in file %q cannot be parsed", len(certs)+1, f.Path)
		}
		certs = append(certs, cert)
	}
	switch {
	case len(certs) > 0:
		return unique(certs), nil
	case isPEM:
		return nil, fmt.Errorf("file %q has PEM blocks, but none is a %s", f.Path, certificateBlock)
	}
	archive, err := openArchive(f, true)
	return unique(archive.certs), err
}

func unique(certs []*x509.Certificate) []*x509.Certificate {
	var once []*x509.Certificate
	for _, cert := range certs {
		if !slices.ContainsFunc(once, cert.Equal) {
			once = append(once, cert)
		}
	}
	return once
}

// chain puts the leaf first, then its issuer, the issuer of that and so on, then what
// is left in its order.
func chain(certs []*x509.Certificate, leaf int) []*x509.Certificate {
	left := slices.Clone(certs)
	var ordered []*x509.Certificate
	for next := leaf; next >= 0; {
		cert := left[next]
		ordered, left = append(ordered, cert), slices.Delete(left, next, next+1)
		next = slices.IndexFunc(left, func(c *x509.Certificate) bool { return issued(c, cert) })
	}
	return append(ordered, left...)
}

func issued(issuer, cert *x509.Certificate) bool {
	return bytes.Equal(issuer.RawSubject, cert.RawIssuer) && cert.CheckSignatureFrom(issuer) == nil
}

// authorities are the certificates that somebody may trust: those that say that they
// are of a CA, and those that nobody else signed. A file without such a certificate is
// taken to list what to trust as it is.
func authorities(certs []*x509.Certificate) []*x509.Certificate {
	var found []*x509.Certificate
	for _, cert := range certs {
		if cert.IsCA || bytes.Equal(cert.RawIssuer, cert.RawSubject) {
			found = append(found, cert)
		}
	}
	if len(found) == 0 {
		return certs
	}
	return found
}

func encodeCertificates(certs []*x509.Certificate) []byte {
	var out bytes.Buffer
	for _, cert := range certs {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: cert.Raw}))
	}
	return out.Bytes()
}
