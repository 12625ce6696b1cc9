package vaultclass

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/reference"
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
		names, err := reference.Names(tt.listed)
		if err != nil {
			t.Error(err)
		}
		want, err := reference.Constants(tt.file, tt.prefix)
		if err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, names); diff != "" {
			t.Errorf("%s (-parsed +listed):\n%s", tt.file, diff)
		}
	}
}
