package vaultclass

import (
	"go/ast"
	"go/parser"
	"go/token"
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
		prefix, file string
		listed       []Setting
	}{
		{"param", "class.go", Parameters()},
		{"field", "objects.go", ObjectFields()},
	} {
		var names []string
		for _, s := range tt.listed {
			names = append(names, s.Name)
			if s.Meaning == "" || strings.ContainsAny(s.Meaning+s.Default, "|\n") {
				t.Errorf("%s: no meaning, or one that breaks a table", s.Name)
			}
		}
		slices.Sort(names)
		want := constants(t, tt.file, tt.prefix)
		if len(want) == 0 {
			t.Errorf("%s: no constant begins with %s", tt.file, tt.prefix)
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%s (-parsed +listed):\n%s", tt.file, diff)
		}
	}
}

// constants returns the sorted values of the texts whose names begin with prefix.
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
	slices.Sort(values)
	return values
}
