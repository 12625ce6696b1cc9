package azure

import (
	"flag"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/provider/providertest"
)

// flagsOf are those of a command line.
func flagsOf(t *testing.T, args ...string) *Flags {
	t.Helper()
	var f Flags
	set := flag.NewFlagSet("", flag.ContinueOnError)
	f.Register(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &f
}

func TestFlagsThatAreWrong(t *testing.T) {
	t.Parallel()
	for arg, want := range map[string]string{
		"-keyvault-api-version=":                  "keyvault-api-version",
		"-keyvault-api-version=7.4&x=1":           "keyvault-api-version",
		"-keyvault-api-version=7.6-preview":       "keyvault-api-version",
		"-keyvault-api-version=2025-07-01T":       "keyvault-api-version",
		"-pinned-max-age=-1s":                     "pinned-max-age",
		"-max-stale-if-error=-1s":                 "max-stale-if-error",
		"-cloud-files-directory=../clouds":        "cloud-files-directory",
		"-sni-name=https://a":                     "sni-name",
		"-token-proxy-url=http://a":               "token-proxy-url",
		"-token-proxy-url=https://":               "token-proxy-url",
		"-token-proxy-url=https://u:s3cret@a":     "token-proxy-url",
		"-token-proxy-url=https://a?s3cret=1":     "token-proxy-url",
		"-token-proxy-url=https://a#s3cret":       "token-proxy-url",
		"-token-proxy-url=https://s3cret:pass%zz": "token-proxy-url",
	} {
		if err := flagsOf(t, arg).check(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", arg, err)
		}
	}
	for _, arg := range []string{
		"-keyvault-api-version=7.4", "-keyvault-api-version=7.6-preview.2", "-keyvault-api-version=2025-07-01", "-pinned-max-age=0",
		"-max-stale-if-error=0", "-cloud-files-directory=/clouds", "-sni-name=a.ests.aks", "-token-proxy-url=https://a:1/path",
	} {
		if err := flagsOf(t, arg).check(); err != nil {
			t.Errorf("%s: %v", arg, err)
		}
	}
}

func TestNewChecksFlags(t *testing.T) {
	t.Parallel()
	getenv := func(string) string { return "" }
	for _, arg := range []string{"-cloud-name=Moon", "-keyvault-api-version=x"} {
		if _, err := New(Config{Flags: *flagsOf(t, arg), Getenv: getenv, Log: slog.New(slog.DiscardHandler)}); err == nil {
			t.Errorf("%s is accepted", arg)
		}
	}
	for _, agent := range []string{"", "contoso", "contoso\x00 of many words, too many"} {
		log := &providertest.Buffer{}
		_, err := New(Config{Flags: *flagsOf(t, "-custom-user-agent="+agent), Getenv: getenv, Log: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil || (log.String() == "") != (len(agent) < 10) || len(agent) > 10 && !strings.Contains(log.String(), "can send: contoso/of/many/words/to\"") {
			t.Errorf("%q: %v: %s", agent, err, log)
		}
	}
}

// agents notes the User-Agent of requests.
type agents struct {
	inner http.RoundTripper
	mu    sync.Mutex
	seen  map[string]string // by path
}

func (a *agents) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	a.seen[r.URL.Path] = r.UserAgent()
	a.mu.Unlock()
	return a.inner.RoundTrip(r)
}

// Azure sees who asks, in requests for tokens too. (azure-contract 16.41)
func TestUserAgent(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"":                                "strongroom",
		"contoso/prod 1":                  "contoso/prod/1",
		"evil\r\nAuthorization: Bearer x": "evilAuthorization/Bearer",
		"\u00fc\u4e16":                    "strongroom",
		strings.Repeat("a", 100):          strings.Repeat("a", 24),
	} {
		g := newGround(t)
		g.put(t, "db", "v1")
		seen := &agents{inner: g.Transport, seen: map[string]string{}}
		g.transport, g.userAgent = &http.Client{Transport: seen, Timeout: time.Minute}, (&Flags{UserAgent: given}).userAgent()
		if _, err := g.Mount(t.Context(), g.asPrincipal(ask(podOf("u1"), oneSecret))); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/secrets/db/", "/" + tenant + "/oauth2/v2.0/token"} {
			if got := seen.seen[path]; !strings.HasPrefix(got, want+" azsdk-go-") {
				t.Errorf("%q: %s sees %q of %v", given, path, got, seen.seen)
			}
		}
	}
}
