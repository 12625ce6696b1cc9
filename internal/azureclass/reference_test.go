package azureclass

import (
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/reference"
)

// What the parser knows is what the reference lists.
func TestReferenceIsComplete(t *testing.T) {
	t.Parallel()
	params, err := reference.Constants("class.go", "param")
	if err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		kind   string
		parsed []string
		listed []Setting
	}{
		{"parameters", params, Parameters()},
		{"fields", tags(), ObjectFields()},
	} {
		names, err := reference.Names(tt.listed)
		if err != nil {
			t.Error(err)
		}
		if len(tt.parsed) == 0 {
			t.Errorf("the parser knows no %s", tt.kind)
		}
		if diff := cmp.Diff(tt.parsed, names); diff != "" {
			t.Errorf("%s (-parsed +listed):\n%s", tt.kind, diff)
		}
	}
}

// tags are the sorted names of an item's fields in YAML.
func tags() (names []string) {
	for f := range reflect.TypeFor[item]().Fields() {
		names = append(names, f.Tag.Get("yaml"))
	}
	slices.Sort(names)
	return names
}
