package docs

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/internal/reference"
	"github.com/strongroom/strongroom/internal/vaultclass"
)

// update says that the pages are to be written: go test ./internal/docs -update.
const update = "update"

func TestMain(m *testing.M) {
	flag.Bool(update, false, "write the reference of classes and kinds")
	flag.Parse()
	os.Exit(m.Run())
}

func TestReference(t *testing.T) {
	t.Parallel()
	for name, tables := range map[string]map[string]string{
		"parameters.md": {
			"vault parameters": reference.Table("parameter", vaultclass.Parameters()),
			"vault fields":     reference.Table("field", vaultclass.ObjectFields()),
			"azure parameters": reference.Table("parameter", azureclass.Parameters()),
			"azure fields":     reference.Table("field", azureclass.ObjectFields()),
		},
		"crds.md": kinds(t),
	} {
		err := reference.Check(filepath.Join(root, "docs/reference", name), tables, flag.Lookup(update).Value.String() == "true")
		if err != nil {
			t.Error(err)
		}
	}
}

// kinds are the fields of each kind that the cluster knows, by the kind's name.
func kinds(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(root, "manifests/base/crds/*.yaml"))
	if err != nil || len(files) < 3 {
		t.Fatalf("the kinds: %v, %v", files, err)
	}
	tables := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensions.CustomResourceDefinition
		if err := yaml.Unmarshal(text, &crd); err != nil {
			t.Fatal(err)
		}
		if len(crd.Spec.Versions) > 0 && crd.Spec.Names.Kind != "" {
			tables[crd.Spec.Names.Kind] = fields(&crd)
		}
	}
	return tables
}

// fields is a table of the fields of a kind's v1.
func fields(crd *apiextensions.CustomResourceDefinition) string {
	var b strings.Builder
	names := crd.Spec.Names
	fmt.Fprintf(&b, "`kubectl get %s`", names.Plural)
	for _, short := range names.ShortNames {
		fmt.Fprintf(&b, ", `kubectl get %s`", short)
	}
	b.WriteString(". Versions:")
	for i, v := range crd.Spec.Versions {
		fmt.Fprintf(&b, "%s `%s`", strings.Repeat(",", min(i, 1)), v.Name)
		if v.Deprecated {
			b.WriteString(" (deprecated)")
		}
	}
	b.WriteString(".\n\n| field | type | meaning |\n| --- | --- | --- |\n")
	for _, v := range crd.Spec.Versions {
		if v.Name == "v1" {
			rows(&b, "", v.Schema.OpenAPIV3Schema)
		}
	}
	return b.String()
}

// rows has one for each field below a path.
func rows(b *strings.Builder, path string, schema *apiextensions.JSONSchemaProps) {
	names := make([]string, 0, len(schema.Properties))
	for name := range schema.Properties {
		if path != "" || !slices.Contains([]string{"apiVersion", "kind", "metadata"}, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		field := schema.Properties[name]
		fmt.Fprintf(b, "| `%s` | %s | %s |\n", path+name, kindOf(&field), meaning(&field))
		inner, mark := &field, "."
		if field.Items != nil && field.Items.Schema != nil {
			inner, mark = field.Items.Schema, "[]."
		}
		rows(b, path+name+mark, inner)
	}
}

func kindOf(s *apiextensions.JSONSchemaProps) string {
	switch {
	case s.Type == "array" && s.Items != nil && s.Items.Schema != nil:
		return "list of " + kindOf(s.Items.Schema)
	case s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil:
		return "map of " + kindOf(s.AdditionalProperties.Schema)
	case s.Format != "":
		return s.Type + ", " + s.Format
	}
	return s.Type
}

// meaning is the description of a field, and the values that it may have.
func meaning(s *apiextensions.JSONSchemaProps) string {
	text := strings.ReplaceAll(strings.Join(strings.Fields(s.Description), " "), "|", `\|`)
	if len(s.Enum) > 0 {
		values := make([]string, 0, len(s.Enum))
		for _, v := range s.Enum {
			values = append(values, "`"+strings.Trim(string(v.Raw), `"`)+"`")
		}
		text += " One of " + strings.Join(values, ", ") + "."
	}
	return text
}
