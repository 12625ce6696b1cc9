package vaultclass

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"strings"
)

// Read is one request to Vault in canonical form: objects with equal Reads are
// served by one request.
type Read struct {
	Method string
	Path   string // begins with /v1/
	Query  string // encoded, keys sorted
	Args   string // JSON body; empty for none
}

func newRead(o *Object) (Read, error) {
	if o.Path == "" {
		return Read{}, fmt.Errorf("%s is missing: give the API path of the secret, as in secret/data/app", fieldPath)
	}
	bare, query, _ := strings.Cut(o.Path, "?")
	p, err := apiPath(bare)
	if err != nil {
		return Read{}, err
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return Read{}, fmt.Errorf("%s %q has a malformed query: %w", fieldPath, clip(o.Path), err)
	}
	return Read{
		Method: cmp.Or(o.Method, "GET"),
		Path:   p,
		Query:  values.Encode(),
		Args:   string(o.Args),
	}, nil
}

// apiPath puts a path below /v1/ and cleans it, as the URL would be.
func apiPath(text string) (string, error) {
	p := text
	switch {
	case strings.HasPrefix(p, "/v1/"):
	case strings.HasPrefix(p, "v1/"):
		p = "/" + p
	default:
		p = "/v1/" + strings.TrimPrefix(p, "/")
	}
	p = path.Clean(p)
	if !strings.HasPrefix(p, "/v1/") {
		return "", fmt.Errorf("%s %q does not name anything below /v1/", fieldPath, clip(text))
	}
	return p, nil
}
