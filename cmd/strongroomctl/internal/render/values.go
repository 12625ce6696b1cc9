package render

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Values are what a store holds, by path or object, as the user writes them down.
type Values map[string]any

// Load reads values. Without a file there are none, and no file of a volume has a size.
func Load(file string) (Values, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // none are none
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	values := Values{}
	if err := yaml.Unmarshal(text, &values); err != nil {
		// The parser's text may show a value.
		return nil, fmt.Errorf("%s is not a YAML mapping of paths to values; see docs/strongroomctl.md", file)
	}
	return values, nil
}

// find returns the first of the names that there is.
func (v Values) find(names ...string) (any, error) {
	for _, name := range names {
		if value, ok := v[name]; ok {
			return value, nil
		}
	}
	return nil, fmt.Errorf("the values have no %q", names[0])
}

// text is a value that must be one.
func text(value any, what string) (string, error) {
	if s, ok := value.(string); ok {
		return s, nil
	}
	return "", fmt.Errorf("the value of %q must be a text: put it in quotes", what)
}

func mapping(value any, what string, fields ...string) (map[string]any, error) {
	m, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the value of %q must be a mapping of fields to values", what)
	}
	for name := range m {
		if len(fields) > 0 && !slices.Contains(fields, name) {
			return nil, fmt.Errorf("the value of %q has a field %q: it can have %s", what, name, strings.Join(fields, ", "))
		}
	}
	return m, nil
}
