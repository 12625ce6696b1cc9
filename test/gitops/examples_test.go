package gitops

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

// Both examples install the same.
func TestSameValues(t *testing.T) {
	t.Parallel()
	var flux struct {
		Spec struct {
			Values map[string]any `json:"values"`
		} `json:"spec"`
	}
	var argo struct {
		Spec struct {
			Source struct {
				Helm struct {
					Values map[string]any `json:"valuesObject"`
				} `json:"helm"`
			} `json:"source"`
		} `json:"spec"`
	}
	read(t, filepath.Join(examples, "flux/strongroom/release.yaml"), &flux)
	read(t, filepath.Join(examples, "argocd/strongroom.yaml"), &argo)
	if diff := cmp.Diff(flux.Spec.Values, argo.Spec.Source.Helm.Values); diff != "" || len(flux.Spec.Values) == 0 {
		t.Errorf("Flux and Argo CD install with other values (-flux +argo):\n%s", diff)
	}
}

// Flux puts its own manifests beside those of a cluster, and applies all, unless a
// kustomization there lists others only.
func TestFluxAppliesItself(t *testing.T) {
	t.Parallel()
	found, err := filepath.Glob(filepath.Join(examples, "flux/clusters/*/kustomization.y*ml"))
	if err != nil || len(found) > 0 {
		t.Errorf("%v %v", found, err)
	}
	if found, err = filepath.Glob(filepath.Join(examples, "flux/clusters/*/*.yaml")); err != nil || len(found) == 0 {
		t.Errorf("no cluster is there: %v", err)
	}
}

// What the examples point to is there.
func TestPaths(t *testing.T) {
	t.Parallel()
	found := 0
	for _, pattern := range []string{"flux/*/*.yaml", "flux/*/*/*.yaml", "argocd/*.yaml"} {
		files, err := filepath.Glob(filepath.Join(examples, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(string(text)) {
				name, path, _ := strings.Cut(strings.TrimSpace(line), ": ")
				if name != "path" && (name != "chart" || path == "") {
					continue
				}
				found++
				for _, environment := range []string{"staging", "production"} {
					there := filepath.Join(root, strings.ReplaceAll(path, "{{.environment}}", environment))
					if _, err := os.Stat(there); err != nil {
						t.Errorf("%s: %v", file, err)
					}
				}
			}
		}
	}
	if found < 5 {
		t.Errorf("only %d paths found", found)
	}
}
