package vaultclass

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"
)

// CheckAddress says whether address can be that of a Vault: an http or https
// URL, or unix:///path.
func CheckAddress(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		// The parser's text repeats the address, with a password if it has one.
		return errors.New("the address is not a URL: write it as https://vault.example.com:8200")
	}
	switch {
	case u.Scheme == "unix" && strings.HasPrefix(address, "unix:///"):
		return nil
	case u.Scheme == "unix":
		return errors.New("a unix address needs an absolute path, as in unix:///run/vault/agent.sock")
	case u.Scheme != "http" && u.Scheme != "https":
		return errors.New("the address must begin with https://, http:// or unix://")
	case u.Hostname() == "":
		return errors.New("the address names no host")
	}
	return nil
}

// LoginPath is the API path for a login at an auth mount.
func LoginPath(mount string) (string, error) {
	const auth = "/v1/auth/"
	p := path.Clean(auth + mount + "/login")
	if !strings.HasPrefix(p, auth) || p == auth+"login" {
		return "", fmt.Errorf("%q does not name a mount below auth/", clip(mount))
	}
	return p, nil
}
