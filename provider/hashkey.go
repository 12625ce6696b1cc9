package provider

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
)

// HashKey makes hashes of credentials, by which a provider tells identities apart
// without keeping what they log in with. It is new with each process, so that nobody
// can find out by a hash which credential it is of.
type HashKey struct{ key [sha256.Size]byte }

// NewHashKey returns a key that nobody else has.
func NewHashKey() *HashKey {
	k := &HashKey{}
	_, _ = rand.Read(k.key[:]) // never fails
	return k
}

// Sum is the hash of several parts; where one ends counts too.
func (k *HashKey) Sum(parts ...[]byte) [sha256.Size]byte {
	h := hmac.New(sha256.New, k.key[:])
	for _, part := range parts {
		_ = binary.Write(h, binary.BigEndian, uint64(len(part))) // a hash takes everything
		h.Write(part)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
