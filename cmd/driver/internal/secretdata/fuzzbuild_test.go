package secretdata

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// FuzzBuild makes a Secret of anything: each key is one that Kubernetes takes, and holds
// the bytes of one of the files.
func FuzzBuild(f *testing.F) {
	f.Add("a", "Opaque", "user", "name", "user", "db/password")
	f.Add("a", "Opaque", "*", "", "db/password", "db.password")
	f.Add("a.b", " ", "user", "..", "user", "user")
	f.Add("A", "bootstrap.kubernetes.io/token", "*", "k", "..x", "\x00")
	f.Add("a", "Opaque", " user ", " name ", "user", strings.Repeat("x", 300))
	f.Fuzz(func(t *testing.T, name, kind, chosen, key, one, two string) {
		files := []provider.File{file(one, "1"), file(two, "2")}
		s, err := Build(rotation.SecretObject{Name: name, Type: kind, Data: keys(chosen, key)}, files)
		if err != nil {
			return
		}
		if len(s.Data) == 0 || len(validation.IsDNS1123Subdomain(s.Name)) > 0 ||
			s.Type == string(corev1.SecretTypeServiceAccountToken) || s.Type == string(corev1.SecretTypeBootstrapToken) || strings.TrimSpace(s.Type) != s.Type {
			t.Errorf("%+v", s)
		}
		for k, v := range s.Data {
			if len(validation.IsConfigMapKey(k)) > 0 || string(v) != "1" && string(v) != "2" {
				t.Errorf("%q is %q", k, v)
			}
		}
	})
}
