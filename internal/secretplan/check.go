package secretplan

import (
	"strings"

	"github.com/strongroom/strongroom/pkg/rotation"
)

// Flaw is what is wrong with a SecretObject, whatever the files of the volume hold.
type Flaw struct {
	// Entry is that of the object's data, -1 for the object itself.
	Entry int
	Err   error
}

// Check finds all flaws that [Head] and [Plan.Choose] find one by one. Without files, which
// are unknown then, it asks of no file whether it is there.
func Check(object rotation.SecretObject, files []string) (flaws []Flaw) {
	plan, err := Head(object)
	if err != nil {
		flaws = append(flaws, Flaw{-1, err})
	}
	known := files
	for i, pair := range object.Data {
		path := strings.TrimSpace(pair.File)
		if path == EveryFile {
			continue
		}
		if files == nil {
			known = append(known, path)
		}
		if _, _, err := choose(pair, known); err != nil {
			flaws = append(flaws, Flaw{i, err})
		}
	}
	if len(flaws) > 0 || files == nil && everyFile(object.Data) >= 0 {
		return flaws
	}
	if err := plan.Choose(object.Data, known); err != nil {
		flaws = append(flaws, Flaw{everyFile(object.Data), err})
	}
	return flaws
}

// everyFile is the entry that stands for every file, or -1.
func everyFile(pairs []rotation.SecretKey) int {
	for i, pair := range pairs {
		if strings.TrimSpace(pair.File) == EveryFile {
			return i
		}
	}
	return -1
}
