package render

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"

	"github.com/strongroom/strongroom/internal/azureclass"
)

// azure lays the files out. What the provider converts (PKCS#12 to PEM, keys to PEM, chains in
// order, certificates and keys in files of their own) is not done: a value is what the file is
// to hold.
func azure(params map[string]string, values Values) ([]File, error) {
	class, err := azureclass.Parse(params)
	if err != nil {
		return nil, err
	}
	if err = errors.Join(azureclass.CheckCloud(class.Cloud), class.CheckLogin(), class.ParseObjects(), class.CheckVault()); err != nil {
		return nil, err
	}
	var files []File
	var wrong []error
	index := map[string]int{}
	for i := range class.Objects {
		some, err := azureFiles(&class.Objects[i], values)
		if err != nil {
			wrong = append(wrong, class.Objects[i].Failed(err))
		}
		for _, f := range some {
			if at, ok := index[f.Path]; ok { // the last one wins, as in the provider
				files[at] = f
				continue
			}
			index[f.Path] = len(files)
			files = append(files, f)
		}
	}
	return files, errors.Join(wrong...)
}

func azureFiles(o *azureclass.Object, values Values) ([]File, error) {
	if o.History < 2 {
		f, err := azureFile(o, o.File, o.Version, values)
		return []File{f}, err
	}
	versions := o.History
	if values != nil {
		value, err := values.find(o.ID())
		if err != nil {
			return nil, err
		}
		list, ok := value.([]any)
		if !ok || len(list) == 0 {
			return nil, fmt.Errorf("the value of %q must be a list of texts, the newest version first", o.ID())
		}
		versions = min(versions, len(list))
	}
	var files []File
	for n := range versions {
		f, err := azureFile(o, o.File+"/"+strconv.Itoa(n), strconv.Itoa(n), values)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// azureFile is a version of an object: its number in a history, or its name, or "" for the
// latest.
func azureFile(o *azureclass.Object, path, version string, values Values) (File, error) {
	f := newFile(path, o.Mode)
	f.Encoding, f.From = o.Encoding, o.ID()
	if version != "" {
		f.From += "/" + version
	}
	if values == nil {
		return f, nil
	}
	value, err := values.find(f.From, o.ID())
	if err != nil {
		return f, err
	}
	if list, ok := value.([]any); ok && o.History > 1 {
		n, atoiErr := strconv.Atoi(version)
		if atoiErr != nil || n >= len(list) {
			return f, fmt.Errorf("the value of %q must be a text, and not a list", f.From)
		}
		value = list[n]
	}
	s, err := text(value, o.ID())
	if err != nil {
		return f, err
	}
	content, err := azureDecode(o, s)
	f.fill(content)
	return f, err
}

func azureDecode(o *azureclass.Object, s string) (out []byte, err error) {
	switch o.Encoding {
	case azureclass.Base64:
		out, err = base64.StdEncoding.DecodeString(s)
	case azureclass.Hex:
		out, err = hex.DecodeString(s)
	default:
		return []byte(s), nil
	}
	if err != nil { // its text may show a character of the value
		return nil, fmt.Errorf("the value is not %s, as objectEncoding says", o.Encoding)
	}
	return out, nil
}
