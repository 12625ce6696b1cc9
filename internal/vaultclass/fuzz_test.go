package vaultclass

import (
	"encoding/json"
	"strings"
	"testing"
)

func FuzzParseObjects(f *testing.F) {
	for _, seed := range []string{
		oneObject,
		"- &a {objectName: x, secretPath: 'p?v=1', secretArgs: {k: [1, 2.5, ~]}}\n- {<<: *a, objectName: y}",
		"- objectName: a\n  secretPath: b\n  secretKey: c\n  encoding: HEX\n  filePermission: 0o640\n  method: LIST",
		"array: |\n  - x", "- &a [*a]", "- {? [a] : b}", "- !!binary x", "- {secretArgs: {a: .nan, b: 2001-01-01}}", "",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseOne(text)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, o := range c.Objects {
			switch {
			case o.Name == "" || seen[o.Name]:
				t.Errorf("name %q is empty or repeated", o.Name)
			case !strings.HasPrefix(o.Read.Path, "/v1/") || strings.Contains(o.Read.Path+"/", "/../"):
				t.Errorf("path %q leaves /v1/", o.Read.Path)
			case o.Mode > 0o777:
				t.Errorf("mode %o", o.Mode)
			case o.Args != nil && !json.Valid(o.Args):
				t.Errorf("args %q are no JSON", o.Args)
			}
			seen[o.Name] = true
		}
	})
}
