package secretdata

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
)

// Hash stands for the data of a Secret: the same for the same data on every node that
// has the key, another one for other data, and for another Secret's. Without the key
// nobody can try out what the data might be. It is no longer than a label may be.
func Hash(key []byte, namespace string, s Secret) string {
	mac := hmac.New(sha256.New, key)
	add := func(part []byte) {
		_ = binary.Write(mac, binary.BigEndian, uint64(len(part))) // a hash takes everything
		_, _ = mac.Write(part)
	}
	add([]byte(namespace))
	add([]byte(s.Name))
	for _, name := range slices.Sorted(maps.Keys(s.Data)) {
		add([]byte(name))
		add(s.Data[name])
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}
