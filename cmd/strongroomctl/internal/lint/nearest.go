package lint

import (
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/internal/reference"
	"github.com/strongroom/strongroom/internal/vaultclass"
)

// nearest returns the known name that is most like name, "" if none is much like it.
func nearest(name string, known []string) (best string) {
	least := max(1, len(name)/4) + 1
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	return best
}

// distance counts the letters to add, remove, change or swap that make a of b.
func distance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		for j := range len(b) {
			change := 1
			if a[i] == b[j] {
				change = 0
			}
			next[j+1] = min(row[j+1]+1, next[j]+1, row[j]+change)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}

// Names of settings, by provider.
func vaultParams() []string { return names(vaultclass.Parameters()) }
func vaultFields() []string { return names(vaultclass.ObjectFields()) }
func azureParams() []string { return names(azureclass.Parameters()) }
func azureFields() []string { return names(azureclass.ObjectFields()) }

func names[S reference.Setting](list []S) (all []string) {
	for _, s := range list {
		all = append(all, struct{ Name, Default, Meaning string }(s).Name)
	}
	return all
}

// ofProviders says whether one of our providers has such a parameter.
func ofProviders(name string) bool {
	return slices.Contains(vaultParams(), name) || slices.Contains(azureParams(), name)
}
