package secretdata

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

func keys(pairs ...string) []rotation.SecretKey {
	var list []rotation.SecretKey
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, rotation.SecretKey{File: pairs[i], Key: pairs[i+1]})
	}
	return list
}

func file(path, contents string) provider.File {
	return provider.File{Path: path, Contents: []byte(contents)}
}

func TestBuild(t *testing.T) {
	t.Parallel()
	files := []provider.File{file("user", "u"), file("db/password", "p"), file("blob", "\x00\xff")}
	for _, tc := range []struct {
		name   string
		object rotation.SecretObject
		want   Secret
	}{
		{
			"raw bytes",
			rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("user", "u", "blob", "b", "db/password", "p")},
			Secret{Name: "s", Type: "Opaque", Data: map[string][]byte{"u": []byte("u"), "b": {0, 255}, "p": []byte("p")}},
		},
		{
			"spaces are taken away",
			rotation.SecretObject{Name: " s\n", Type: "\tkubernetes.io/basic-auth ", Data: keys(" user ", " u ")},
			Secret{Name: "s", Type: "kubernetes.io/basic-auth", Data: map[string][]byte{"u": []byte("u")}},
		},
		{
			"a blank type",
			rotation.SecretObject{Name: "s", Type: " ", Data: keys("user", "u")},
			Secret{Name: "s", Type: "Opaque", Data: map[string][]byte{"u": []byte("u")}},
		},
		{
			"the last of two wins",
			rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("user", "k", "blob", "k ")},
			Secret{Name: "s", Type: "Opaque", Data: map[string][]byte{"k": {0, 255}}},
		},
		{
			"every file",
			rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("*", "")},
			Secret{Name: "s", Type: "Opaque", Data: map[string][]byte{"user": []byte("u"), "blob": {0, 255}, "db.password": []byte("p")}},
		},
		{
			"listed keys win over every file",
			rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("user", "db.password", " * ", "ignored")},
			Secret{Name: "s", Type: "Opaque", Data: map[string][]byte{"user": []byte("u"), "blob": {0, 255}, "db.password": []byte("u")}},
		},
	} {
		got, err := Build(tc.object, files)
		if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", tc.name, err, diff)
		}
	}
	empty, err := Build(rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("*", "")}, nil)
	if err != nil || len(empty.Data) != 0 {
		t.Errorf("an empty volume: %v, %v", empty, err)
	}
}

func TestBuildRefuses(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 254)
	many := []provider.File{file("big", strings.Repeat("x", 1<<20)), file("one", "1")}
	for _, tc := range []struct {
		name   string
		object rotation.SecretObject
		files  []provider.File
		want   string
	}{
		{"no name", rotation.SecretObject{Name: " ", Type: "Opaque", Data: keys("f", "k")}, nil, "has no secretName"},
		{"bad name", rotation.SecretObject{Name: "a_B", Type: "Opaque", Data: keys("f", "k")}, nil, `"a_B" cannot be the name`},
		{"no type", rotation.SecretObject{Name: "s", Data: keys("f", "k")}, nil, "has no type"},
		{"no data", rotation.SecretObject{Name: "s", Type: "Opaque"}, nil, "has no data"},
		{"token", rotation.SecretObject{Name: "s", Type: " kubernetes.io/service-account-token ", Data: keys("f", "k")}, nil, "never fills"},
		{"bootstrap token", rotation.SecretObject{Name: "s", Type: "bootstrap.kubernetes.io/token", Data: keys("f", "k")}, nil, "never fills"},
		{"no objectName", rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys(" ", "k")}, nil, "no objectName"},
		{"no key", rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("f", " ")}, []provider.File{file("f", "v")}, `"f" cannot have the key ""`},
		{"bad key", rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("f", "a b")}, []provider.File{file("f", "v")}, `the key "a b"`},
		{"long key", rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("f", long)}, []provider.File{file("f", "v")}, "cannot have the key"},
		{"missing file", rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("g", "k")}, []provider.File{file("f", "v")}, `objectName "g" is no file`},
		{"missing file of a key listed twice", rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("g", "k", "f", "k")}, []provider.File{file("f", "v")}, `"g" is no file`},
		{"two files, one key", rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("*", "")}, []provider.File{file("a/b", "v"), file("a.b", "w")}, `"a/b" and "a.b" would both`},
		{"a file that is no key", rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("*", "")}, []provider.File{file("a b", "v")}, `file "a b" cannot become`},
		{"too large", rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("*", "")}, many, "1048577 bytes, and a secret can have 1048576"},
	} {
		_, err := Build(tc.object, tc.files)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
	if _, err := Build(rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("big", "k")}, many); err != nil {
		t.Errorf("a MiB: %v", err)
	}
}

// Two files with one key are no trouble where that key is listed.
func TestListedKeyEndsCollision(t *testing.T) {
	t.Parallel()
	files := []provider.File{file("a/b", "v"), file("a.b", "w"), file("c d", "x")}
	_, err := Build(rotation.SecretObject{Name: "s", Type: "Opaque", Data: keys("*", "", "a/b", "a.b")}, files[:2])
	if err != nil {
		t.Error(err)
	}
}
