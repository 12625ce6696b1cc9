package azureclass

import (
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What the parser knows is what the reference lists.
func TestReferenceIsComplete(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		kind   string
		parsed []string
		listed []Setting
	}{
		{"parameters", constants(t, "class.go", "param"), Parameters()},
		{"fields", tags(), ObjectFields()},
	} {
		var names []string
		for _, s := range tt.listed {
			names = append(names, s.Name)
			if s.Meaning == "" || strings.ContainsAny(s.Meaning+s.Default, "|\n") {
				t.Errorf("%s: no meaning, or one that breaks a table", s.Name)
			}
		}
		slices.Sort(names)
		slices.Sort(tt.parsed)
		if len(tt.parsed) == 0 {
			t.Errorf("the parser knows no %s", tt.kind)
		}
		if diff := cmp.Diff(tt.parsed, names); diff != "" {
			t.Errorf("%s (-parsed +listed):\n%s", tt.kind, diff)
		}
	}
}

// tags are the names of an item's fields in YAML.
func tags() (names []string) {
	for f := range reflect.TypeFor[item]().Fields() {
		names = append(names, f.Tag.Get("yaml"))
	}
	return names
}

// constants returns the values of the texts whose names begin with prefix.
func constants(t *testing.T, file, prefix string) (values []string) {
	t.Helper()
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			value, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Error(err)
			}
			values = append(values, value)
		}
		return true
	})
	return values
}
