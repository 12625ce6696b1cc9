package secretdata

import (
	"regexp"
	"testing"
)

func TestHash(t *testing.T) {
	t.Parallel()
	key := []byte("a key of thirty-two bytes or more")
	data := func(pairs ...string) map[string][]byte {
		d := map[string][]byte{}
		for i := 0; i < len(pairs); i += 2 {
			d[pairs[i]] = []byte(pairs[i+1])
		}
		return d
	}
	s := Secret{Name: "db", Type: "Opaque", Data: data("user", "u", "password", "p")}
	want := Hash(key, "shop", s)
	if !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(want) {
		t.Errorf("the hash is %q", want)
	}
	// It is that of an earlier version, or an upgrade would restart what watches it.
	if want != "f6225e08ca4a0cacd61a595a6fdb30f5" {
		t.Errorf("the hash has become %s", want)
	}
	if got := Hash(key, "shop", Secret{Name: "db", Data: data("password", "p", "user", "u")}); got != want {
		t.Errorf("the same data in another order, and another type: %s, want %s", got, want)
	}
	for name, got := range map[string]string{
		"another value":     Hash(key, "shop", Secret{Name: "db", Data: data("user", "u", "password", "q")}),
		"another key name":  Hash(key, "shop", Secret{Name: "db", Data: data("user", "u", "pass", "p")}),
		"a key more":        Hash(key, "shop", Secret{Name: "db", Data: data("user", "u", "password", "p", "x", "")}),
		"moved boundaries":  Hash(key, "shop", Secret{Name: "db", Data: data("user", "up", "password", "")}),
		"another Secret":    Hash(key, "shop", Secret{Name: "db2", Data: s.Data}),
		"another namespace": Hash(key, "shop2", s),
		"another hash key":  Hash([]byte("another key of thirty-two bytes.."), "shop", s),
	} {
		if got == want {
			t.Errorf("%s: the hash is the same", name)
		}
	}
}
