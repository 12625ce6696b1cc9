package azure

import (
	"errors"
	"flag"
	"fmt"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Flags are the settings that an operator gives on the command line.
type Flags struct {
	Cloud         string
	OrderChain    bool
	OrderPEM      bool
	SeparateFiles bool
	TokenProxyURL string
	SNIName       string
	UserAgent     string

	APIVersion          string
	PinnedMaxAge        time.Duration
	MaxStaleIfError     time.Duration
	AllowNodeIdentity   bool
	CloudFilesDirectory string
	LegacyMetricLabels  bool
}

// Register adds the flags to set. (azure-contract 9.1)
func (f *Flags) Register(set *flag.FlagSet) {
	set.StringVar(&f.Cloud, "cloud-name", "AzurePublicCloud", "cloud of classes that name none")
	set.BoolVar(&f.OrderChain, "construct-pem-chain", true, "put the certificates of a PKCS#12 file in the order of a chain")
	set.BoolVar(&f.SeparateFiles, "write-cert-and-key-in-separate-files", false,
		"write certificate and key of a certificate's secret as NAME.crt and NAME.key too")
	set.StringVar(&f.TokenProxyURL, "token-proxy-url", "",
		"https address of the proxy that classes with useAzureTokenProxy ask for tokens; empty for the API server")
	set.StringVar(&f.SNIName, "sni-name", "", "name to expect in the certificate of that proxy; empty for the one that AKS gives it")
	set.StringVar(&f.UserAgent, "custom-user-agent", "",
		"what requests to Azure begin their User-Agent with: at most 24 letters, digits and ./-_+; default strongroom")
	f.registerOwn(set)
}

// registerOwn adds the flags that the existing provider does not have.
func (f *Flags) registerOwn(set *flag.FlagSet) {
	set.BoolVar(&f.OrderPEM, "order-pem-secrets", false,
		"put the certificates of a certificate's secret that is PEM in the vault in the order of a chain too; keys stay where they are")
	set.StringVar(&f.APIVersion, "keyvault-api-version", "7.4", "version of Key Vault's API, as in 7.4, 7.6-preview.2 or 2025-07-01")
	set.DurationVar(&f.PinnedMaxAge, "pinned-max-age", time.Hour,
		"how often objects of a given version, which do not change, are read again to see whether that is still allowed")
	set.DurationVar(&f.MaxStaleIfError, "max-stale-if-error", time.Hour, "the most that staleIfError of a class can be; 0 switches it off")
	set.BoolVar(&f.AllowNodeIdentity, "allow-node-identity", true, "let classes use the managed identities of the node")
	set.StringVar(&f.CloudFilesDirectory, "cloud-files-directory", "",
		"directory in which the files must be that classes name in cloudEnvFileName; empty for anywhere")
	set.BoolVar(&f.LegacyMetricLabels, "legacy-metric-labels", false,
		"give keyvault_request and grpc_request the labels object_name and grpc_message and the texts of errors, as far as 500 series go")
}

// apiVersions are what versions of Key Vault's API look like, the old and the new ones.
var apiVersions = regexp.MustCompile(`^(\d{1,3}\.\d{1,3}(-preview\.\d{1,3})?|20\d\d-\d\d-\d\d(-preview)?)$`)

// check says which flag is wrong, and how.
func (f *Flags) check() error {
	switch {
	case !apiVersions.MatchString(f.APIVersion):
		return fmt.Errorf("keyvault-api-version %.40q: want a version of Key Vault's API, as in 7.4, 7.6-preview.2 or 2025-07-01", f.APIVersion)
	case f.PinnedMaxAge < 0:
		return fmt.Errorf("pinned-max-age %s: want a duration, as in 1h; 0 reads objects of a given version at every refresh", f.PinnedMaxAge)
	case f.MaxStaleIfError < 0:
		return fmt.Errorf("max-stale-if-error %s: want a duration, as in 1h; 0 switches staleIfError off", f.MaxStaleIfError)
	case f.CloudFilesDirectory != "" && !filepath.IsAbs(f.CloudFilesDirectory):
		return fmt.Errorf("cloud-files-directory %.200q: want an absolute path", f.CloudFilesDirectory)
	case strings.ContainsAny(f.SNIName, "/:@ \t\r\n"):
		return fmt.Errorf("sni-name %.200q: want a host name", f.SNIName)
	}
	if err := checkProxy(f.TokenProxyURL); err != nil {
		return fmt.Errorf("token-proxy-url: %w", err)
	}
	return nil
}

// checkProxy does not repeat the address: somebody may have put a password into it.
func checkProxy(address string) error {
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return errors.New("it is not a URL")
	case u.Scheme != "https", u.Host == "":
		return errors.New("want an https address, as in https://proxy.example.com/path")
	case u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "":
		return errors.New("want an https address without user, query and fragment")
	}
	return nil
}

// maxUserAgent is how much of a name the SDK sends.
const maxUserAgent = 24

// userAgent is the name that Azure sees: what the operator gave, as far as a header can
// have it.
func (f *Flags) userAgent() string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("./-_+", r):
			return r
		case r == ' ':
			return '/'
		}
		return -1
	}, strings.TrimSpace(f.UserAgent))
	if name == "" {
		return "strongroom"
	}
	return name[:min(len(name), maxUserAgent)]
}
