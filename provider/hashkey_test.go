package provider

import "testing"

func TestHashKey(t *testing.T) {
	t.Parallel()
	k := NewHashKey()
	sum := k.Sum([]byte("ab"), []byte("c"))
	if sum != k.Sum([]byte("ab"), []byte("c")) {
		t.Error("equal parts have two hashes")
	}
	for name, other := range map[string][32]byte{
		"other borders":   k.Sum([]byte("a"), []byte("bc")),
		"one part":        k.Sum([]byte("abc")),
		"one more part":   k.Sum([]byte("ab"), []byte("c"), nil),
		"another process": NewHashKey().Sum([]byte("ab"), []byte("c")),
	} {
		if other == sum {
			t.Errorf("%s: the same hash", name)
		}
	}
}
