package render

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
	"github.com/strongroom/strongroom/internal/secretplan"
	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// defaultMode is that of files whose class says none.
const defaultMode fs.FileMode = 0o644

// File is a file of the volume.
type File struct {
	Path     string `json:"path"`
	Mode     string `json:"mode"`
	Size     *int   `json:"size,omitempty"` // not known without values
	Encoding string `json:"encoding"`       // of the value in the store
	From     string `json:"from"`
	// Content is there if it is to be shown; what is not text is quoted.
	Content *string `json:"content,omitempty"`

	mode    fs.FileMode
	content []byte
}

func newFile(path string, mode fs.FileMode) File {
	mode = cmp.Or(mode, defaultMode)
	return File{Path: path, Mode: fmt.Sprintf("%04o", mode), mode: mode}
}

func (f *File) fill(content []byte) {
	size := len(content)
	f.Size, f.content = &size, content
}

// Secret is a Kubernetes Secret that the driver would fill.
type Secret struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Keys are files by key.
	Keys map[string]string `json:"keys"`
}

// Volume is what a class makes.
type Volume struct {
	Class   string   `json:"class"`
	Files   []File   `json:"files"`
	Secrets []Secret `json:"secrets,omitempty"`
}

// Render makes the volume of a class. Values may be nil.
func Render(class *v1.SecretProviderClass, values Values) (*Volume, error) {
	v := &Volume{}
	var err error
	switch class.Spec.Provider {
	case "vault":
		v.Files, err = vault(class.Spec.Parameters, values)
	case "azure":
		v.Files, err = azure(class.Spec.Parameters, values)
	default:
		err = fmt.Errorf("provider %q is none that this program knows: it knows vault and azure", class.Spec.Provider)
	}
	if err != nil {
		return nil, err
	}
	files, paths := make([]provider.File, len(v.Files)), make([]string, len(v.Files))
	for i, f := range v.Files {
		files[i], paths[i] = provider.File{Path: f.Path, Mode: f.mode}, f.Path
	}
	if err = provider.CheckFiles(files); err != nil {
		return nil, err
	}
	v.Secrets, err = secrets(class, paths)
	slices.SortFunc(v.Files, func(a, b File) int { return cmp.Compare(a.Path, b.Path) })
	return v, err
}

func secrets(class *v1.SecretProviderClass, paths []string) (all []Secret, err error) {
	for _, s := range class.Spec.SecretObjects {
		object := rotation.SecretObject{Name: s.SecretName, Type: s.Type}
		for _, d := range s.Data {
			object.Data = append(object.Data, rotation.SecretKey{File: d.ObjectName, Key: d.Key})
		}
		plan, headErr := secretplan.Head(object)
		if headErr == nil {
			headErr = plan.Choose(object.Data, paths)
		}
		if headErr != nil {
			err = errors.Join(err, headErr)
			continue
		}
		all = append(all, Secret{plan.Name, plan.Type, plan.Files})
	}
	return all, err
}

// show puts contents where they are printed.
func (v *Volume) show() {
	for i := range v.Files {
		f := &v.Files[i]
		if f.Size == nil {
			continue
		}
		text := string(f.content)
		if !utf8.Valid(f.content) {
			text = strconv.Quote(text)
		}
		f.Content = &text
	}
}

// Text writes tables, and contents if they are to be shown.
func (v *Volume) Text(w io.Writer) error {
	fmt.Fprintf(w, "class %s\n", v.Class)
	rows := make([][]string, 0, len(v.Files))
	for _, f := range v.Files {
		size := "-"
		if f.Size != nil {
			size = strconv.Itoa(*f.Size)
		}
		rows = append(rows, []string{f.Path, f.Mode, size, f.Encoding, f.From})
	}
	if err := cli.Table(w, []string{"file", "mode", "size", "encoding", "from"}, rows); err != nil {
		return err
	}
	rows = nil
	for _, s := range v.Secrets {
		for _, key := range slices.Sorted(maps.Keys(s.Keys)) {
			rows = append(rows, []string{s.Name, s.Type, key, s.Keys[key]})
		}
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		if err := cli.Table(w, []string{"secret", "type", "key", "file"}, rows); err != nil {
			return err
		}
	}
	for _, f := range v.Files {
		if f.Content != nil {
			fmt.Fprintf(w, "\n== %s\n%s\n", f.Path, *f.Content)
		}
	}
	return nil
}
