package vaultclass

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Encodings of a value, as a class spells them in any case.
const (
	UTF8   = "utf-8"
	Base64 = "base64"
	Hex    = "hex"
)

// Object is one entry of the objects list: one file. Apart from Read, the
// fields are as the class spells them.
type Object struct {
	Name   string
	Path   string
	Key    string // empty for the whole response
	Method string
	// Args is compact JSON with sorted keys; nil when the class has no secretArgs.
	Args     json.RawMessage
	Mode     fs.FileMode // 0 for the volume's default
	Encoding string
	// Read is the request that Path, Method and Args make.
	Read Read
}

// Decoding returns one of [UTF8], [Base64] and [Hex].
func (o *Object) Decoding() string {
	if o.Encoding == "" {
		return UTF8
	}
	return strings.ToLower(o.Encoding)
}

// check completes o and returns what is wrong with it.
func (o *Object) check() (wrong []flaw) {
	add := func(field string, err error) {
		if err != nil {
			wrong = append(wrong, flaw{field, err.Error()})
		}
	}
	add(fieldName, checkName(o.Name))
	add(fieldMethod, checkMethod(o.Method))
	add(fieldEncoding, o.checkEncoding())
	read, err := newRead(o)
	add(fieldPath, err)
	o.Read = read
	return wrong
}

// checkEncoding lets a wrong encoding pass where it has no meaning.
func (o *Object) checkEncoding() error {
	switch o.Decoding() {
	case UTF8, Base64, Hex:
		return nil
	}
	if o.Key == "" {
		return nil
	}
	return fmt.Errorf("%s %q is unknown: use %s, %s or %s", fieldEncoding, clip(o.Encoding), UTF8, Base64, Hex)
}

// checkName refuses what the driver would refuse after the secret was read,
// when a dynamic credential would be lost.
func checkName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%s is missing: name the file to write", fieldName)
	case path.IsAbs(name) || path.Clean(name) != name || name == "." || strings.HasPrefix(name, ".."):
		return fmt.Errorf("%s must be a plain relative path without .. or empty parts", fieldName)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("%s contains a NUL byte", fieldName)
	case len(name) > 4096:
		return fmt.Errorf("%s is longer than 4096 bytes", fieldName)
	}
	for part := range strings.SplitSeq(name, "/") {
		if len(part) > 255 {
			return fmt.Errorf("%s has a part longer than 255 bytes", fieldName)
		}
	}
	return nil
}

// checkMethod refuses what is no HTTP method, and the lower-case spellings that
// Vault answers with 405. Vault judges all others.
func checkMethod(method string) error {
	switch strings.ToUpper(method) {
	case "GET", "PUT", "POST", "LIST", "DELETE", "PATCH", "HEAD":
		if method != strings.ToUpper(method) {
			return fmt.Errorf("%s %q must be upper case: %s", fieldMethod, method, strings.ToUpper(method))
		}
	}
	if strings.ContainsFunc(method, notTokenRune) {
		return fmt.Errorf("%s %q is not an HTTP method", fieldMethod, clip(method))
	}
	return nil
}

func notTokenRune(r rune) bool {
	alnum := '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	return !alnum && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
