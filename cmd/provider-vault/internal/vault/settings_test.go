package vault

import (
	"cmp"
	"context"
	"flag"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/vaultclass"
)

// config is one that New accepts, with an environment and flags.
func config(getenv func(string) string, f Flags) Config {
	return Config{
		Getenv: getenv, Flags: f, Log: slog.New(slog.DiscardHandler),
		VersionKey: func(context.Context) []byte { return []byte("key") },
	}
}

func env(vars ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i+1 < len(vars); i += 2 {
		m[vars[i]] = vars[i+1]
	}
	return func(k string) string { return m[k] }
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	allEnv := []string{
		"VAULT_ADDR", "https://env", "VAULT_NAMESPACE", "env", "VAULT_CACERT", "env-ca", "VAULT_CACERT_BYTES", "env-bytes",
		"VAULT_CAPATH", "env-dir", "VAULT_TLS_SERVER_NAME", "env", "VAULT_CLIENT_CERT", "env-cert", "VAULT_CLIENT_KEY", "env-key",
		"VAULT_SKIP_VERIFY", "true",
	}
	allFlags := []string{
		"--vault-addr=https://flag", "-vault-mount=flag", "--vault-namespace=flag", "--vault-tls-ca-cert=flag-ca",
		"--vault-tls-server-name=flag", "--vault-tls-client-cert=flag-cert", "--vault-tls-client-key=flag-key",
	}
	base := settings{address: "https://127.0.0.1:8200", authMount: "kubernetes"}
	for name, tt := range map[string]struct {
		env   []string
		flags []string
		class vaultclass.Class
		want  settings
	}{
		"nothing": {want: base},
		"environment": {env: allEnv, want: settings{
			"https://env", "env", "kubernetes",
			tlsSettings{caFile: "env-ca", caBytes: "env-bytes", caDir: "env-dir", serverName: "env", certFile: "env-cert", keyFile: "env-key", skipVerify: true},
		}},
		"flags": {env: allEnv, flags: allFlags, want: settings{
			"https://flag", "flag", "flag", tlsSettings{caFile: "flag-ca", serverName: "flag", certFile: "flag-cert", keyFile: "flag-key", skipVerify: true},
		}},
		"class": {env: allEnv, flags: allFlags, class: vaultclass.Class{
			Address: "https://class", Namespace: "class", AuthMount: "class",
			TLS: vaultclass.TLS{CADirectory: "class-dir", ServerName: "class", ClientCert: "c", ClientKey: "k", SkipVerify: &no},
		}, want: settings{
			"https://class", "class", "class", tlsSettings{caDir: "class-dir", serverName: "class", certFile: "c", keyFile: "k", caConfined: true, certConfined: true},
		}},
		"class skips":            {class: vaultclass.Class{TLS: vaultclass.TLS{SkipVerify: &yes}}, want: skipping(base)},
		"flag skips":             {flags: []string{"-vault-tls-skip-verify"}, env: []string{"VAULT_SKIP_VERIFY", "0"}, want: skipping(base)},
		"flag unset":             {env: []string{"VAULT_SKIP_VERIFY", "1"}, want: skipping(base)},
		"class beats flag":       {flags: []string{"-vault-tls-skip-verify"}, class: vaultclass.Class{TLS: vaultclass.TLS{SkipVerify: &no}}, want: base},
		"agent beats everything": {env: []string{"VAULT_AGENT_ADDR", "https://agent"}, flags: []string{"-vault-addr=https://flag"}, class: vaultclass.Class{Address: "https://class"}, want: settings{address: "https://agent", authMount: "kubernetes"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.class.AuthMethod = cmp.Or(tt.class.AuthMethod, vaultclass.Kubernetes)
			p, err := New(t.Context(), config(env(tt.env...), parseFlags(t, tt.flags)))
			if err != nil {
				t.Fatal(err)
			}
			if got := resolve(p.env, p.flags, classLevel(&tt.class), p.agent); got != tt.want {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func skipping(s settings) settings {
	s.tls.skipVerify = true
	return s
}

func parseFlags(t *testing.T, args []string) (f Flags) {
	t.Helper()
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	f.Register(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFlagsOfTheExistingProvider(t *testing.T) {
	t.Parallel()
	got := parseFlags(t, []string{
		"-debug", "-hmac-secret-name=k", "-cache-size=-1", "--vault-tls-ca-directory=d",
	})
	want := Flags{AuthMount: "kubernetes", HMACSecretName: "k", CacheSize: -1, CADirectory: "d", JWTSessionScope: scopePod, MaxStaleIfError: time.Hour}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("flags (-want +got):\n%s", diff)
	}
}

func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		env   []string
		flags Flags
		want  string
	}{
		"address":      {[]string{"VAULT_ADDR", "vault:8200"}, Flags{}, "environment: vault address"},
		"agent":        {[]string{"VAULT_AGENT_ADDR", "unix://x"}, Flags{}, "VAULT_AGENT_ADDR"},
		"skip":         {[]string{"VAULT_SKIP_VERIFY", "yes"}, Flags{}, "VAULT_SKIP_VERIFY"},
		"flag address": {nil, Flags{Address: "ftp://x"}, "flags: vault address"},
		"flag mount":   {nil, Flags{AuthMount: "../.."}, "flags: vault auth mount"},
		"lone key":     {nil, Flags{TLSClientKey: "k"}, "belong together"},
		"scope":        {nil, Flags{JWTSessionScope: "node"}, "jwt-session-scope"},
		"pattern":      {nil, Flags{AllowedAddresses: "https://["}, "allowed-addresses"},
		"directory":    {nil, Flags{TLSFilesDirectory: "certs"}, "vault-tls-files-directory"},
	} {
		_, err := New(t.Context(), config(env(tt.env...), tt.flags))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error %v does not contain %q", name, err, tt.want)
		}
	}
}

func TestNewRefusesWhatTheLibraryRefuses(t *testing.T) {
	for name, value := range map[string]string{
		"VAULT_CLIENT_TIMEOUT": "soon", "VAULT_MAX_RETRIES": "-1", "VAULT_RATE_LIMIT": "x", "VAULT_HEADERS": "x",
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			if _, err := New(t.Context(), config(env(), Flags{})); err == nil {
				t.Errorf("%s=%s is accepted", name, value)
			}
		})
	}
}
