package azure

import (
	"testing"

	"github.com/strongroom/strongroom/internal/azureclass"
)

// TestCloudNamesOfClasses: what checks a class without the provider knows the same names.
func TestCloudNamesOfClasses(t *testing.T) {
	for name := range knownClouds() {
		if err := azureclass.CheckCloud(name); err != nil {
			t.Error(err)
		}
	}
	if err := azureclass.CheckCloud("AzureMoonCloud"); err == nil {
		t.Error("any name passes")
	}
	if _, err := (&clouds{}).find("AzureMoonCloud", ""); err == nil {
		t.Error("the provider takes any name")
	}
}
