package secretdata

import (
	"encoding/asn1"
	"math"
	"math/big"
)

// maxDepth is more than PKCS#12 nests.
const maxDepth = 32

// mostIterations is the greatest count of iterations that an archive asks for before
// anything is decrypted. Wherever PKCS#12 has such a count, it is the integer behind
// the octets of a salt.
func mostIterations(der []byte, depth int) int64 {
	if depth > maxDepth {
		return math.MaxInt64
	}
	var most int64
	salt := false
	for len(der) > 0 {
		var value asn1.RawValue
		rest, err := asn1.Unmarshal(der, &value)
		if err != nil {
			break
		}
		octets := value.Class == asn1.ClassUniversal && value.Tag == asn1.TagOctetString
		switch {
		case value.Class == asn1.ClassUniversal && value.Tag == asn1.TagInteger:
			if salt {
				most = max(most, integer(value.FullBytes))
			}
		case octets, value.IsCompound, value.Class != asn1.ClassUniversal:
			most = max(most, mostIterations(value.Bytes, depth+1))
		}
		salt, der = octets, rest
	}
	return most
}

func integer(der []byte) int64 {
	n := new(big.Int)
	if _, err := asn1.Unmarshal(der, &n); err != nil || !n.IsInt64() {
		return math.MaxInt64
	}
	return n.Int64()
}
