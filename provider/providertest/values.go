package providertest

import (
	"crypto/md5"  //nolint:gosec // to find it where it should not be
	"crypto/sha1" //nolint:gosec // to find it where it should not be
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/provider"
)

// minValue is the length from which a value is not found by chance.
const minValue = 6

// leaks finds secrets in what was logged and in errors.
func (s *subject) leaks() error {
	var errs []error
	for where, text := range map[string]string{"the log": s.log.String(), "an error": s.errors.String()} {
		for name, value := range s.secrets() {
			if form := shown(text, value); form != "" {
				errs = append(errs, fmt.Errorf("%s shows %s%s", where, name, form))
			}
		}
	}
	return errors.Join(errs...)
}

// secrets are the values that nobody may see, by a name that tests can show.
func (s *subject) secrets() map[string]string {
	all := map[string]string{}
	for i, canary := range s.Canaries {
		all[fmt.Sprintf("canary %d", i)] = canary
	}
	for _, requests := range []map[string]*provider.Request{s.Good, s.Bad, s.Missing} {
		for name, req := range requests {
			for audience, token := range req.Tokens {
				all[fmt.Sprintf("the token %q of request %q", audience, name)] = string(token.Value)
			}
			for key, value := range req.Secrets {
				all[fmt.Sprintf("the secret %q of request %q", key, name)] = string(value)
			}
		}
	}
	for name, value := range all {
		if len(value) < minValue {
			delete(all, name)
		}
	}
	return all
}

// shown says in which form text has value, and "" if it has not.
func shown(text, value string) string {
	quoted := strconv.Quote(value)
	for _, form := range []struct{ name, text string }{
		{" as it is", value},
		{" with escapes", quoted[1 : len(quoted)-1]},
		{" in base64", base64.RawStdEncoding.EncodeToString([]byte(value))},
		{" in base64 for URLs", base64.RawURLEncoding.EncodeToString([]byte(value))},
		{" in hexadecimal", hex.EncodeToString([]byte(value))},
		{" escaped for URLs", url.QueryEscape(value)},
	} {
		if strings.Contains(text, form.text) {
			return form.name
		}
	}
	return ""
}

// revealed says how a version reveals value, and "" if it does not. A plain hash
// reveals a short value to who guesses.
func revealed(version, value string) string {
	if how := shown(version, value); how != "" {
		return how
	}
	b := []byte(value)
	s256, s1, m5 := sha256.Sum256(b), sha1.Sum(b), md5.Sum(b) //nolint:gosec // to find it where it should not be
	for name, sum := range map[string][]byte{"SHA-256": s256[:], "SHA-1": s1[:], "MD5": m5[:]} {
		for _, text := range []string{
			hex.EncodeToString(sum), base64.RawStdEncoding.EncodeToString(sum), base64.RawURLEncoding.EncodeToString(sum),
		} {
			if strings.Contains(version, text) || strings.Contains(version, strings.ToUpper(text)) {
				return " as its plain " + name
			}
		}
	}
	return ""
}

// differ says in what two answers differ, without showing values.
func differ(a, b *provider.Response) error {
	if len(a.Files) != len(b.Files) {
		return fmt.Errorf("%d files, then %d", len(a.Files), len(b.Files))
	}
	for _, f := range a.Files {
		i := slices.IndexFunc(b.Files, func(g provider.File) bool { return g.Path == f.Path })
		switch {
		case i < 0:
			return fmt.Errorf("file %q is there once, and then not", f.Path)
		case f.Mode != b.Files[i].Mode:
			return fmt.Errorf("file %q has mode %v, then %v", f.Path, f.Mode, b.Files[i].Mode)
		case string(f.Contents) != string(b.Files[i].Contents):
			return fmt.Errorf("file %q has other contents then", f.Path)
		}
	}
	if !slices.Equal(a.Versions, b.Versions) {
		return errors.New("other versions then")
	}
	return nil
}
