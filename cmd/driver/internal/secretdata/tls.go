package secretdata

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/strongroom/strongroom/provider"
)

// caKey is the key of the certificates that a user of the Secret is to trust.
const caKey = corev1.ServiceAccountRootCAKey // ca.crt

// tlsData makes the data of a Secret for TLS: a private key, the certificate that
// belongs to it with those that lead to its issuer, and CA certificates if they are
// asked for.
func tlsData(sources map[string]provider.File) (map[string][]byte, error) {
	for _, key := range slices.Sorted(maps.Keys(sources)) {
		if key != corev1.TLSCertKey && key != corev1.TLSPrivateKeyKey && key != caKey {
			return nil, fmt.Errorf("key %q has no place in a secret of type %s: it can have %s, %s and %s",
				key, corev1.SecretTypeTLS, corev1.TLSCertKey, corev1.TLSPrivateKeyKey, caKey)
		}
	}
	certFile, hasCert := sources[corev1.TLSCertKey]
	keyFile, hasKey := sources[corev1.TLSPrivateKeyKey]
	if !hasCert || !hasKey {
		return nil, fmt.Errorf("a secret of type %s needs both %s and %s", corev1.SecretTypeTLS, corev1.TLSCertKey, corev1.TLSPrivateKeyKey)
	}
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
