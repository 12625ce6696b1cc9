package lint

import (
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/provider"
)

// volume is what a class makes, as far as that can be told without a store.
type volume struct {
	// whole says that no file is missing because its entry is wrong.
	whole bool
	files []file
}

// file is a file, and which entry of objects makes it.
type file struct {
	path   string
	object int
	field  string
	// maybe says when it is not there always.
	maybe string
}

// separate says when certificates and keys have files of their own.
const separate = "only for a certificate, and if provider-azure runs with --write-cert-and-key-in-separate-files"

func (v *volume) addAzure(o *azureclass.Object, i int) {
	field := "objectName"
	if o.File != o.Name {
		field = "objectAlias"
	}
	paths := []string{o.File}
	if o.History > 1 {
		paths = nil
		for n := range o.History {
			paths = append(paths, o.File+"/"+strconv.Itoa(n))
		}
	}
	for n, path := range paths {
		maybe := ""
		if n > 0 {
			maybe = "only if the object has so many versions"
		}
		v.files = append(v.files, file{path: path, object: i, field: field, maybe: maybe})
		if o.Type == azureclass.Secret {
			v.files = append(v.files, file{path + ".crt", i, field, separate}, file{path + ".key", i, field, separate})
		}
	}
}

// sure are the paths of files that are there.
func (v *volume) sure() (paths []string) {
	for _, f := range v.files {
		if f.maybe == "" && f.path != "" {
			paths = append(paths, f.path)
		}
	}
	return paths
}

// possible are the paths of files that may be there.
func (v *volume) possible() (paths []string) {
	for _, f := range v.files {
		if f.path != "" {
			paths = append(paths, f.path)
		}
	}
	return paths
}

// maybe says on what a file depends, "" if on nothing.
func (v *volume) maybe(path string) (why string) {
	for _, f := range v.files {
		if f.path == strings.TrimSpace(path) {
			if f.maybe == "" {
				return ""
			}
			why = f.maybe
		}
	}
	return why
}

// conflicts has the driver's check look at the paths, and finds the first entry that it would
// refuse. Of equal paths the provider's parser has spoken.
func (c *checker) conflicts(v *volume) {
	var files []provider.File
	seen := map[string]bool{}
	var from []file
	for _, f := range v.files {
		if f.maybe == "" && f.path != "" && !seen[f.path] {
			seen[f.path] = true
			files, from = append(files, provider.File{Path: f.path}), append(from, f)
		}
	}
	if !v.whole || provider.CheckFiles(files) == nil {
		return
	}
	for i := range files {
		if err := provider.CheckFiles(files[:i+1]); err != nil {
			c.judge(Error, problem{objects, from[i].object, from[i].field, err.Error() + ": give one of them another name"})
			return
		}
	}
}
