package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/strongroom/strongroom"

// pkg is what go list says about a package.
type pkg struct {
	ImportPath, Dir, Name string
	GoFiles               []string
	Imports               []string // named in its own files
	Deps                  []string // reached through any number of imports
	Module                *struct {
		Path, Dir string
		Main      bool
	}
}

// ours is the path inside the repository, or "" for a package of somebody else.
func (p pkg) ours() string {
	rest, ok := strings.CutPrefix(p.ImportPath, module+"/")
	if !ok {
		return ""
	}
	return rest
}

// list runs go list once for all tests.
var list = sync.OnceValues(func() ([]pkg, error) { //nolint:gochecknoglobals // read-only
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Dir,Name,GoFiles,Imports,Deps,Module", "./...")
	cmd.Dir = "../.."
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	var all []pkg
	for dec := json.NewDecoder(out); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all, cmd.Wait()
		}
		if err != nil {
			return nil, errors.Join(err, cmd.Wait())
		}
		all = append(all, p)
	}
})

func packages(t *testing.T) []pkg {
	t.Helper()
	all, err := list()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return all
}

// A rule says what some packages of ours must not import. Patterns are import paths
// with * as in path.Match; a trailing /... covers what lies below as well. Those
// that begin with ./ are ours.
type rule struct {
	name   string
	from   string
	skip   []string // what of that is not meant
	direct bool     // looks at the packages' own imports only
	never  []string // what must not be imported
	except []string // what of that may be
}

func rules() []rule {
	kubernetes := []string{"k8s.io/...", "sigs.k8s.io/controller-runtime/..."}
	vendors := []string{"github.com/hashicorp/...", "github.com/Azure/...", "github.com/aws/...", "cloud.google.com/..."}
	return []rule{
		{name: "rotation is pure", from: "./pkg/rotation/...", never: slices.Concat(kubernetes, vendors, []string{
			"github.com/container-storage-interface/...", "./pkg/csi/...", "./cmd/...", "./api/...",
		})},
		{name: "rotation leaves files and the wire to others", from: "./pkg/rotation/...", direct: true, never: []string{"os/...", "google.golang.org/grpc/...", "./provider/v1alpha1"}},
		{name: "csi asks Kubernetes behind rotation", from: "./pkg/csi/...", never: slices.Concat(kubernetes, vendors, []string{"./cmd/...", "./api/..."})},
		{name: "the SDK stands alone", from: "./provider", never: append(kubernetes, "./..."), except: []string{"./provider/v1alpha1", "./provider/volumes/v1"}},
		{name: "what helps testing a provider needs only the SDK", from: "./provider/...", never: append(kubernetes, "./..."), except: []string{"./provider/..."}},
		{name: "the kinds are cheap to import", from: "./api/...", never: []string{"k8s.io/client-go/...", "k8s.io/api/...", "sigs.k8s.io/controller-runtime/..."}},
		{name: "the driver knows no store", from: "./cmd/driver/...", never: append(vendors, "./cmd/provider-*/...")},
		{name: "a provider is not the driver", from: "./cmd/provider-*/...", never: []string{"sigs.k8s.io/controller-runtime/...", "./pkg/...", "./cmd/driver/...", "./api/..."}},
		{name: "the Vault provider asks Kubernetes in one place", from: "./cmd/provider-vault", direct: true, never: kubernetes},
		{name: "its store does not", from: "./cmd/provider-vault/internal/vault/...", never: kubernetes},
		{name: "what asks there is light: no kinds, and no client that knows them all", from: "./cmd/provider-vault/...", never: []string{
			"k8s.io/api/...", "k8s.io/client-go/rest/...", "k8s.io/client-go/kubernetes/...", "k8s.io/apimachinery/pkg/runtime",
		}},
		{name: "the Vault provider knows one store", from: "./cmd/provider-vault/...", never: vendors, except: []string{"github.com/hashicorp/..."}},
		{
			name: "the Azure provider knows one store, and no Kubernetes", from: "./cmd/provider-azure/...",
			never: slices.Concat(vendors, kubernetes), except: []string{"github.com/Azure/...", "github.com/AzureAD/..."},
		},
		{name: "its files are made without a network", from: "./cmd/provider-azure/internal/keyfile", never: append(vendors, "net/http/...", "./internal/...")},
		{name: "strongroomctl knows no store and is not the driver", from: "./cmd/strongroomctl/...", never: append(vendors, "./cmd/driver/...", "./cmd/provider-*/...")},
		{name: "what its commands share knows no cluster", from: "./cmd/strongroomctl/internal/cli", never: kubernetes},
		{name: "class parsers are pure", from: "./internal/*class/...", never: append(vendors, "net", "net/http/...", "crypto/tls", "google.golang.org/grpc/...")},
		{name: "code shared by providers knows no store", from: "./internal/...", skip: []string{"./internal/rotationtest", "./internal/secretplan"}, never: slices.Concat(kubernetes, []string{"./pkg/...", "./cmd/..."})},
		{
			name: "what a synced Secret is made of is a matter of names alone", from: "./internal/secretplan",
			never:  append(vendors, "k8s.io/client-go/...", "sigs.k8s.io/controller-runtime/...", "./..."),
			except: []string{"./pkg/rotation", "./provider/..."},
		},
		{
			name: "what tests a provider with the clock knows neither it nor Kubernetes", from: "./internal/rotationtest",
			never: slices.Concat(kubernetes, vendors, []string{"./..."}), except: []string{"./pkg/rotation", "./provider/..."},
		},
	}
}

func TestRules(t *testing.T) {
	all := packages(t)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			found := false
			for _, p := range all {
				skipped := func(pattern string) bool { return match(pattern, p.ImportPath) }
				if p.ours() == "" || !match(r.from, p.ImportPath) || slices.ContainsFunc(r.skip, skipped) {
					continue
				}
				found = true
				r.check(t, p)
			}
			if !found {
				t.Errorf("no package matches %s any more", r.from)
			}
		})
	}
}

func (r rule) check(t *testing.T, p pkg) {
	t.Helper()
	reached := p.Deps
	if r.direct {
		reached = p.Imports
	}
	for _, dep := range reached {
		denied := func(pattern string) bool { return match(pattern, dep) }
		if slices.ContainsFunc(r.never, denied) && !slices.ContainsFunc(r.except, denied) {
			t.Errorf("%s reaches %s", p.ImportPath, dep)
		}
	}
}

func match(pattern, importPath string) bool {
	if rest, ok := strings.CutPrefix(pattern, "./"); ok {
		pattern = module + "/" + rest
	}
	stem, below := strings.CutSuffix(pattern, "/...")
	if !below {
		ok, _ := path.Match(pattern, importPath)
		return ok
	}
	depth := strings.Count(stem, "/") + 1
	parts := strings.Split(importPath, "/")
	if len(parts) < depth {
		return false
	}
	ok, _ := path.Match(stem, strings.Join(parts[:depth], "/"))
	return ok
}

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		pattern, path string
		want          bool
	}{
		{"k8s.io/...", "k8s.io/client-go/rest", true},
		{"k8s.io/...", "sigs.k8s.io/yaml", false},
		{"os/...", "os", true},
		{"os/...", "os/exec", true},
		{"net", "net/url", false},
		{"./...", module + "/pkg/csi", true},
		{"./cmd/provider-*/...", module + "/cmd/provider-vault/internal/vault", true},
		{"./cmd/provider-*/...", module + "/cmd/driver", false},
		{"./provider", module + "/provider/v1alpha1", false},
		{"./internal/*class/...", module + "/internal/vaultclass", true},
	} {
		if got := match(tc.pattern, tc.path); got != tc.want {
			t.Errorf("match(%q, %q) = %t", tc.pattern, tc.path, got)
		}
	}
}
