package secretdata

import (
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/strongroom/strongroom/internal/secretplan"
	"github.com/strongroom/strongroom/provider"
)

const caKey = secretplan.CAKey

// tlsData makes the data of a Secret for TLS: a private key, the certificate that
// belongs to it with those that lead to its issuer, and CA certificates if they are
// asked for. The plan has seen to it that the first two are there, and nothing else.
func tlsData(sources map[string]provider.File) (map[string][]byte, error) {
	certFile, keyFile := sources[corev1.TLSCertKey], sources[corev1.TLSPrivateKeyKey]
	data := map[string][]byte{}
	if err := pair(data, certFile, keyFile); err != nil {
		return nil, err
	}
	if caFile, ok := sources[caKey]; ok {
		certs, err := certificates(caFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", caKey, err)
		}
		data[caKey] = encodeCertificates(authorities(certs))
	}
	return data, nil
}

// pair adds the certificate and the key.
func pair(data map[string][]byte, certFile, keyFile provider.File) error {
	certs, err := certificates(certFile)
	if err != nil {
		return fmt.Errorf("%s: %w", corev1.TLSCertKey, err)
	}
	key, err := privateKey(keyFile)
	if err != nil {
		return fmt.Errorf("%s: %w", corev1.TLSPrivateKeyKey, err)
	}
	leaf := slices.IndexFunc(certs, key.fits)
	if leaf < 0 {
		return fmt.Errorf("the private key in %q belongs to no certificate in %q", keyFile.Path, certFile.Path)
	}
	if data[corev1.TLSPrivateKeyKey], err = key.encode(); err != nil {
		return fmt.Errorf("%s: file %q: %w", corev1.TLSPrivateKeyKey, keyFile.Path, err)
	}
	data[corev1.TLSCertKey] = encodeCertificates(chain(certs, leaf))
	return nil
}

// errNotTLS is for a file that is neither PEM nor PKCS#12.
var errNotTLS = errors.New("is neither PEM nor PKCS#12 in DER")
