package reference

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
)

// Names are the sorted names of settings. One without a meaning, or one that breaks a
// table, is an error.
func Names[S Setting](list []S) ([]string, error) {
	var names []string
	for _, s := range list {
		row := struct{ Name, Default, Meaning string }(s)
		if row.Meaning == "" || strings.ContainsAny(row.Meaning+row.Default, "|\n") {
			return nil, fmt.Errorf("%s: no meaning, or one that breaks a table", row.Name)
		}
		names = append(names, row.Name)
	}
	slices.Sort(names)
	return names, nil
}

// Constants are the sorted values of the texts in a Go file whose names begin with
// prefix. None at all is an error.
func Constants(file, prefix string) (values []string, err error) {
	tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		return nil, err
	}
	ast.Inspect(tree, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			value, failed := strconv.Unquote(lit.Value)
			if failed != nil {
				err = failed
			}
			values = append(values, value)
		}
		return true
	})
	if err == nil && len(values) == 0 {
		err = fmt.Errorf("%s: no constant begins with %s", file, prefix)
	}
	slices.Sort(values)
	return values, err
}
