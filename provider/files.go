package provider

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

const (
	maxPath      = 4096
	maxComponent = 255
	modeMask     = fs.FileMode(0o777)
)

// CheckFiles says whether files can make a volume: each path is relative, clean,
// at most 4096 bytes with components of at most 255, has no component "..", and
// does not begin with ".."; no path appears twice or is a directory of another;
// each mode is within 0777. Both ends of the wire check this. (driver-contract 4)
func CheckFiles(files []File) error {
	paths := make([]string, len(files))
	for i, f := range files {
		if err := checkPath(f.Path); err != nil {
			return Errorf(Invalid, "file path %.200q: %w", f.Path, err)
		}
		if f.Mode&^modeMask != 0 {
			return Errorf(Invalid, "file %q: mode %#o is not within 0 to 0777", f.Path, uint32(f.Mode))
		}
		paths[i] = f.Path
	}
	return checkConflicts(paths)
}

func checkPath(p string) error {
	switch {
	case p == "":
		return errors.New("is empty")
	case strings.ContainsRune(p, 0):
		return errors.New("contains a NUL byte")
	case path.IsAbs(p):
		return errors.New("must be relative")
	case len(p) > maxPath:
		return fmt.Errorf("is longer than %d bytes", maxPath)
	case p == ".":
		return errors.New("names the volume itself")
	case strings.HasPrefix(p, ".."):
		return errors.New(`must not begin with ".."`)
	case path.Clean(p) != p:
		return fmt.Errorf("is not in clean form, want %.200q", path.Clean(p))
	}
	for part := range strings.SplitSeq(p, "/") {
		if len(part) > maxComponent {
			return fmt.Errorf("has a component longer than %d bytes", maxComponent)
		}
	}
	return nil
}

// checkConflicts finds equal paths, and paths that must be a file and a directory
// at once. Sorting with "/" before every other byte puts a directory right before
// what lies in it.
func checkConflicts(paths []string) error {
	slices.SortFunc(paths, comparePaths)
	for i := 1; i < len(paths); i++ {
		before, p := paths[i-1], paths[i]
		if before == p {
			return Errorf(Invalid, "two files have the path %q", p)
		}
		if strings.HasPrefix(p, before+"/") {
			return Errorf(Invalid, "file paths conflict: %q would be both a file and the directory of %q", before, p)
		}
	}
	return nil
}

// comparePaths orders as strings.Compare would if "/" were the least byte. No path
// has a NUL.
func comparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch x, y := a[i], b[i]; {
		case x == y:
		case x == '/':
			return -1
		case y == '/':
			return 1
		default:
			return cmp.Compare(x, y)
		}
	}
	return cmp.Compare(len(a), len(b))
}
