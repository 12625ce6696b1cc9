package azureclass_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/strongroom/strongroom/internal/azureclass"
)

func TestCheck(t *testing.T) {
	_, wrong, warnings := azureclass.Check(map[string]string{
		"keyvaultName": "a_b", "cloudName": "Moon", "useVMManagedIdentity": "maybe", "staleIfError": "soon", "KeyvaultName": "x",
		"objects": "array:\n- |\n  objectName: a\n  objectType: thing\n- |\n  objectName: [\n- |\n  objectName: b\n  objectType: key\n  objectEncoding: hex\n",
	})
	got := []string{}
	for _, p := range slices.Concat(wrong, warnings) {
		got = append(got, fmt.Sprintf("%s %d %s", p.Param, p.Object, p.Field))
	}
	want := []string{
		"useVMManagedIdentity -1 ", "tenantID -1 ", "staleIfError -1 ", "keyvaultName -1 ", "cloudName -1 ",
		"objects 0 objectType", "objects 1 ", "objects 2 objectEncoding", "tenantId -1 ",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
