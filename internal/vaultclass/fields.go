package vaultclass

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// fields are the fields of one object. Their values are decoded one by one,
// because the YAML library's own errors quote what they could not decode.
type fields map[string]yaml.Node

// object decodes the fields and returns what has the wrong type.
func (f fields) object() (o Object, wrong []flaw) {
	add := func(field string, err error) {
		if err != nil {
			wrong = append(wrong, flaw{field, err.Error()})
		}
	}
	var err error
	for _, t := range []struct {
		field string
		to    *string
	}{
		{fieldName, &o.Name},
		{fieldPath, &o.Path},
		{fieldKey, &o.Key},
		{fieldMethod, &o.Method},
		{fieldEncoding, &o.Encoding},
	} {
		*t.to, err = f.text(t.field)
		add(t.field, err)
	}
	o.Mode, err = f.mode()
	add(fieldPermission, err)
	o.Args, err = f.args()
	add(fieldArgs, err)
	return o, wrong
}

func (f fields) text(field string) (string, error) {
	n, ok := f[field]
	if !ok {
		return "", nil
	}
	var s string
	if n.Decode(&s) != nil {
		return "", fmt.Errorf("%s must be text", field)
	}
	return s, nil
}

func (f fields) mode() (fs.FileMode, error) {
	n, ok := f[fieldPermission]
	if !ok {
		return 0, nil
	}
	var mode int32
	if n.Decode(&mode) != nil {
		return 0, fmt.Errorf("%s must be a number without quotes, such as 0640", fieldPermission)
	}
	if mode < 0 || mode > 0o777 {
		return 0, fmt.Errorf("%s must be between 0 and 0777 (decimal 511); decimal %d is not", fieldPermission, mode)
	}
	return fs.FileMode(mode), nil
}

// args returns the arguments as compact JSON with sorted keys, nil for none.
func (f fields) args() (json.RawMessage, error) {
	n, ok := f[fieldArgs]
	if !ok {
		return nil, nil
	}
	var args map[string]any
	if n.Decode(&args) != nil {
		return nil, fmt.Errorf("%s must be a mapping", fieldArgs)
	}
	if args == nil {
		return nil, nil
	}
	text, err := json.Marshal(args)
	if err != nil {
		return nil, fmt.Errorf("%s cannot be written as JSON: keys must be text, numbers finite", fieldArgs)
	}
	return text, nil
}

// unknown sorts the fields that do not exist into those that may be ignored and
// those that are surely meant to be another.
func (f fields) unknown() (ignored, wrong []flaw) {
	known := []string{
		fieldName, fieldPath, fieldKey, fieldMethod, fieldArgs, fieldPermission, fieldEncoding,
	}
	for _, field := range slices.Sorted(maps.Keys(f)) {
		if slices.Contains(known, field) || field == fieldVersion {
			continue
		}
		if meant := nearest(field, known); meant != "" {
			wrong = append(wrong, flaw{field, fmt.Sprintf("field %q is unknown: did you mean %s?", clip(field), meant)})
			continue
		}
		ignored = append(ignored, flaw{field, fmt.Sprintf("unknown field %q is ignored", clip(field))})
	}
	return ignored, wrong
}

// unknownParams warns of parameters that look like a known one. All others pass
// in silence: a class may be shared by tools that read their own.
func unknownParams(params map[string]string) (warnings []Problem) {
	known := []string{
		paramRole, paramObjects, paramAddress, paramNamespace, paramAuthMount, paramAuthMountOld,
		paramAudience, paramCACert, paramCADirectory, paramTLSServerName, paramClientCert,
		paramClientKey, paramSkipVerify, paramAuthMethod, paramStaleIfError,
	}
	for _, param := range slices.Sorted(maps.Keys(params)) {
		if slices.Contains(known, param) {
			continue
		}
		if meant := nearest(param, known); meant != "" {
			warnings = append(warnings, Problem{
				Param: param, Object: -1,
				Text: fmt.Sprintf("unknown parameter %q is ignored: did you mean %s?", clip(param), meant),
			})
		}
	}
	return warnings
}
