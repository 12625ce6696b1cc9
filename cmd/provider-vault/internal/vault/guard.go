package vault

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/strongroom/strongroom/provider"
)

// guard is what the operator lets classes do.
type guard struct {
	patterns   []string // of addresses; none allows all
	verify     bool     // TLS must be verified
	own        []string // origins of the operator's addresses
	filesBelow string   // where files that classes name must be; "" is anywhere
}

// newGuard reads the flags. The operator's own addresses are always allowed.
func newGuard(f *Flags, own ...string) (*guard, error) {
	g := &guard{verify: f.ForbidSkipVerify, filesBelow: f.TLSFilesDirectory}
	for pattern := range strings.SplitSeq(f.AllowedAddresses, ",") {
		pattern = strings.TrimSpace(pattern)
		if pattern == "" {
			continue
		}
		if !strings.Contains(pattern, "://") {
			pattern = "https://" + pattern
		}
		if _, err := path.Match(pattern, ""); err != nil {
			return nil, fmt.Errorf("allowed-addresses: %q is not a pattern such as https://vault.example.com:8200 or https://*.example.com:8200", pattern)
		}
		if !strings.HasPrefix(pattern, "unix:") { // there, case matters
			pattern = strings.ToLower(pattern)
		}
		g.patterns = append(g.patterns, pattern)
	}
	for _, address := range own {
		if address != "" {
			g.own = append(g.own, origin(address))
			if len(g.patterns) > 0 {
				g.patterns = append(g.patterns, escapePattern(origin(address)))
			}
		}
	}
	if g.filesBelow != "" && !filepath.IsAbs(g.filesBelow) {
		return nil, fmt.Errorf("vault-tls-files-directory: %q must be an absolute path", g.filesBelow)
	}
	return g, nil
}

// address says whether the provider may talk to it.
func (g *guard) address(address string) error {
	if len(g.patterns) == 0 {
		return nil
	}
	at := origin(address)
	for _, pattern := range g.patterns {
		if ok, _ := path.Match(pattern, at); ok {
			return nil
		}
		if ok, _ := path.Match(pattern, withoutDefaultPort(at)); ok {
			return nil
		}
	}
	return provider.Errorf(provider.Invalid, "the operator of provider-vault does not allow the address %s: see its flag allowed-addresses", at)
}

// origin is what of an address says where it leads, in one spelling.
func origin(address string) string {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return "an address that is no URL"
	case u.Scheme == "unix":
		return "unix://" + path.Clean("/"+u.Path)
	case u.Port() != "":
		return strings.ToLower(u.Scheme + "://" + u.Host)
	case u.Scheme == "http":
		return strings.ToLower("http://" + net.JoinHostPort(u.Hostname(), "80"))
	}
	return strings.ToLower(u.Scheme + "://" + net.JoinHostPort(u.Hostname(), "443"))
}

func withoutDefaultPort(at string) string {
	if rest, ok := strings.CutPrefix(at, "https://"); ok {
		return "https://" + strings.TrimSuffix(rest, ":443")
	}
	if rest, ok := strings.CutPrefix(at, "http://"); ok {
		return "http://" + strings.TrimSuffix(rest, ":80")
	}
	return at
}

func escapePattern(text string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(text)
}

// tls refuses what a class must not ask for. Nothing is verified without TLS either.
func (g *guard) tls(s tlsSettings, address string) error {
	if at := origin(address); g.verify && strings.HasPrefix(at, "http://") && !slices.Contains(g.own, at) {
		return provider.Errorf(provider.Invalid, "the operator of provider-vault demands that certificates are verified: the address %s must begin with https://", at)
	}
	if g.verify && s.skipVerify {
		return provider.Errorf(provider.Invalid, "the operator of provider-vault demands that certificates are verified: remove vaultSkipTLSVerify")
	}
	return nil
}

// open opens a file that a class or the operator names.
func (g *guard) open(name string, confined bool) (*os.File, error) {
	const flags = os.O_RDONLY | syscall.O_NONBLOCK // a FIFO is not waited for
	if !confined || g == nil || g.filesBelow == "" {
		return os.OpenFile(name, flags, 0)
	}
	below, err := g.below(name)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(g.filesBelow)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }() // what was opened through it stays open
	return root.OpenFile(below, flags, 0)
}

func (g *guard) below(name string) (string, error) {
	below, err := filepath.Rel(g.filesBelow, name)
	if err != nil || !filepath.IsLocal(below) {
		return "", errors.New("the operator of provider-vault allows only files below " + g.filesBelow)
	}
	return below, nil
}
