package secretplan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/secretplan"
	"github.com/strongroom/strongroom/pkg/rotation"
)

// pairs reads "file=key file=key".
func pairs(text string) (all []rotation.SecretKey) {
	for pair := range strings.FieldsSeq(text) {
		file, key, _ := strings.Cut(pair, "=")
		all = append(all, rotation.SecretKey{File: file, Key: key})
	}
	return all
}

func TestCheck(t *testing.T) {
	files := []string{"a", "b/c", "b.c"}
	for _, tc := range []struct {
		name, secret, kind, data string
		files                    []string
		want                     []string
	}{
		{name: "fine", secret: "s", kind: "Opaque", data: "a=a b/c=c", files: files},
		{name: "every file", secret: "s", kind: "Opaque", data: "* a=b", files: []string{"a", "d"}},
		{name: "all at once", secret: "S", kind: "Opaque", data: "a=a x=x b/c=c/d =k", files: files, want: []string{
			"-1 secretName", "1 objectName \"x\" is no file", "2 objectName \"b/c\" cannot have the key", "3 an entry of its data has no objectName",
		}},
		{name: "keys that collide", secret: "s", kind: "Opaque", data: "a=a *", files: files, want: []string{"1 files \"b/c\" and \"b.c\" would both"}},
		{name: "half of TLS", secret: "s", kind: "kubernetes.io/tls", data: "a=tls.crt", files: files, want: []string{"-1 a secret of type kubernetes.io/tls needs both"}},
		{name: "TLS from one file", secret: "s", kind: "kubernetes.io/tls", data: "a=tls.crt a=tls.key", files: files},
		{name: "files not known", secret: "s", kind: "Opaque", data: "x=a y=b"},
		{name: "files not known, every one", secret: "s", kind: "kubernetes.io/tls", data: "*"},
		{name: "files not known, key", secret: "s", kind: "Opaque", data: "x=a/b", want: []string{"0 objectName \"x\" cannot have the key"}},
		{name: "no data", secret: "s", kind: "Opaque", files: files, want: []string{"-1 secret s has no data"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			object := rotation.SecretObject{Name: tc.secret, Type: tc.kind, Data: pairs(tc.data)}
			flaws := secretplan.Check(object, tc.files)
			if len(flaws) != len(tc.want) {
				t.Fatalf("got %v, want %q", flaws, tc.want)
			}
			for i, f := range flaws {
				if got := fmt.Sprintf("%d %v", f.Entry, f.Err); !strings.HasPrefix(got, tc.want[i]) {
					t.Errorf("got %q, want %q", got, tc.want[i])
				}
			}
		})
	}
}

func TestChoose(t *testing.T) {
	plan, err := secretplan.Head(rotation.SecretObject{Name: " s ", Type: "Opaque", Data: pairs("*")})
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Choose(pairs("* x=a.b"), []string{"a/b", "x", "y/z"}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"a.b": "x", "x": "x", "y.z": "y/z"}
	if diff := cmp.Diff(want, plan.Files); diff != "" || plan.Name != "s" {
		t.Errorf("name %q, -want +got:\n%s", plan.Name, diff)
	}
}
