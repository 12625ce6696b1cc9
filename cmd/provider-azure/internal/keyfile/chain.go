package keyfile

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
)

// Order puts certificates, in DER, in the order of a chain: the leaf, then who signed
// it, and so on. If not all of them belong to one chain, they stay as they are, and
// whole is false. (azure-contract 5.20-5.22)
func Order(certs [][]byte) (ordered [][]byte, whole bool, err error) {
	order, err := chain(certs)
	if err != nil {
		return nil, false, err
	}
	if len(order) != len(certs) {
		return certs, false, nil
	}
	for _, i := range order {
		ordered = append(ordered, certs[i])
	}
	return ordered, true, nil
}

// chain is where the certificates are that lead up from the first leaf.
func chain(ders [][]byte) (order []int, err error) {
	certs := make([]*x509.Certificate, len(ders))
	for i, der := range ders {
		if certs[i], err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("certificate %d of %d cannot be read: %w", i+1, len(ders), err)
		}
	}
	parents := make([]int, len(certs)) // -1 is none
	isParent := make([]bool, len(certs))
	for i, c := range certs {
		parents[i] = parentOf(c, certs)
		if p := parents[i]; p >= 0 {
			isParent[p] = true
		}
	}
	leaf := 0
	for leaf < len(certs) && isParent[leaf] {
		leaf++
	}
	if leaf == len(certs) {
		return nil, errors.New("the certificates have no leaf: each of them, if there is one, has signed another")
	}
	for i := leaf; i >= 0; i = parents[i] {
		if len(order) == len(certs) {
			return nil, errors.New("the certificates have signed each other in a circle")
		}
		order = append(order, i)
	}
	return order, nil
}

// parentOf finds who signed a certificate by the ids of keys alone. A certificate that
// is there twice is not its own parent.
func parentOf(c *x509.Certificate, certs []*x509.Certificate) int {
	if len(c.AuthorityKeyId) == 0 {
		return -1
	}
	for i, p := range certs {
		if bytes.Equal(c.AuthorityKeyId, p.SubjectKeyId) && !bytes.Equal(c.Raw, p.Raw) {
			return i
		}
	}
	return -1
}
