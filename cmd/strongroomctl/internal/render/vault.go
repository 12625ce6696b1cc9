package render

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/internal/vaultclass"
)

// vault makes the files by the provider's own code.
func vault(params map[string]string, values Values) ([]File, error) {
	class, err := vaultclass.Parse(params)
	if err != nil {
		return nil, err
	}
	var files []File
	var wrong []error
	for i := range class.Objects {
		o := &class.Objects[i]
		f := newFile(o.Name, o.Mode)
		f.Encoding, f.From = o.Decoding(), from(o)
		if o.Key == "" {
			f.Encoding = "json"
		}
		if values != nil {
			content, err := vaultContent(o, values)
			if err != nil {
				wrong = append(wrong, fmt.Errorf("object %q: %w", o.Name, err))
			}
			f.fill(content)
		}
		files = append(files, f)
	}
	return files, errors.Join(wrong...)
}

// from is the request and the key.
func from(o *vaultclass.Object) string {
	text := o.Read.Method + " " + pathOf(o)
	if o.Key != "" {
		text += " " + o.Key
	}
	return text
}

func pathOf(o *vaultclass.Object) string {
	path := strings.TrimPrefix(o.Read.Path, "/v1/")
	if o.Read.Query != "" {
		path += "?" + o.Read.Query
	}
	return path
}

func vaultContent(o *vaultclass.Object, values Values) ([]byte, error) {
	bare, _, _ := strings.Cut(pathOf(o), "?")
	value, err := values.find(pathOf(o), bare)
	if err != nil {
		return nil, err
	}
	data, err := mapping(value, bare)
	if err != nil {
		return nil, err
	}
	if o.Key == "" {
		return whole(data)
	}
	field, ok := vaultclass.Fields(data)[o.Key]
	if !ok {
		return nil, fmt.Errorf("the value of %q has no key %q", bare, o.Key)
	}
	text, err := vaultclass.Bytes(field)
	if err != nil {
		return nil, fmt.Errorf("the value of %q in %q cannot be written as JSON", o.Key, bare)
	}
	return o.Decode(text)
}

// whole has the members of a reply in Vault's order. Ids and times are not known here.
func whole(data map[string]any) ([]byte, error) {
	return json.Marshal(struct {
		RequestID     string         `json:"request_id"`
		LeaseID       string         `json:"lease_id"`
		LeaseDuration int            `json:"lease_duration"`
		Renewable     bool           `json:"renewable"`
		Data          map[string]any `json:"data"`
		Warnings      []string       `json:"warnings"`
	}{Data: data})
}
