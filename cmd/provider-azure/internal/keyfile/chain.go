package keyfile

import (
	"bytes"
	"crypto/x509"
	"errors"
)

// Order puts certificates in the order of a chain: the leaf, then who signed it, and so
// on. If not all of them belong to one chain, they stay as they are, and whole is
// false. (azure-contract 5.20-5.22)
func Order(certs []*x509.Certificate) (ordered []*x509.Certificate, whole bool, err error) {
	parents := make([]int, len(certs)) // -1 is none
	isParent := make([]bool, len(certs))
	for i, c := range certs {
		parents[i] = parentOf(i, c, certs)
		if p := parents[i]; p >= 0 {
			isParent[p] = true
		}
	}
	leaf := -1
	for i := range certs {
		if !isParent[i] {
			leaf = i
			break
		}
	}
	if leaf < 0 {
		return nil, false, errors.New("the certificates have no leaf: each of them, if there is one, has signed another")
	}
	for i := leaf; i >= 0; i = parents[i] {
		if len(ordered) == len(certs) {
			return nil, false, errors.New("the certificates have signed each other in a circle")
		}
		ordered = append(ordered, certs[i])
	}
	if len(ordered) != len(certs) {
		return certs, false, nil
	}
	return ordered, true, nil
}

func parentOf(child int, c *x509.Certificate, certs []*x509.Certificate) int {
	if len(c.AuthorityKeyId) == 0 {
		return -1
	}
	for i, p := range certs {
		if i != child && bytes.Equal(c.AuthorityKeyId, p.SubjectKeyId) {
			return i
		}
	}
	return -1
}
