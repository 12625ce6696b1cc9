package operate

import (
	"bytes"
	"flag"
	"log/slog"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/provider"
)

// configOf is what a command line comes to.
func configOf(t *testing.T, log *bytes.Buffer, args ...string) (provider.Config, error) {
	t.Helper()
	var o Options
	set := flag.NewFlagSet("", flag.ContinueOnError)
	o.Register(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o.Config(set.Args(), log)
}

// (azure-contract 9.3)
func TestSocketPath(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string]string{
		"unix:///provider/azure.sock": "/provider/azure.sock",
		"unix://x/y":                  "/x/y",
		"UNIX:///x":                   "/x",
		"/provider/azure.sock":        "/provider/azure.sock",
		"tcp://0.0.0.0:5":             "",
		"TCP://0.0.0.0:5":             "",
		"npipe://x":                   "",
		"unix:/x":                     "",
		"unix://":                     "",
		"unix:///":                    "",
		"x/y":                         "",
		"127.0.0.1:5":                 "",
		"":                            "",
	} {
		got, err := socketPath(endpoint)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", endpoint, got, err)
		}
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	c, err := configOf(t, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	if c.Endpoint != "/var/run/secrets-store-csi-providers/azure.sock" || c.HealthAddr != ":8989" || c.MetricsAddr != ":8898" || c.SocketGID != -1 {
		t.Errorf("%+v", c)
	}
	if len(c.Pages) != 1 || c.Pages[0].Addr != ":8989" || c.Pages[0].Pattern != "GET /healthz" {
		t.Errorf("pages: %+v", c.Pages)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for args, want := range map[string][2]string{
		"-healthz-port=1 -prometheus-port=2": {":1", ":2"},
		"-healthz-port=0":                    {"", ":8898"},
		"-prometheus-port=0":                 {":8989", ""}, // at the address of health
		"-healthz-port=0 -prometheus-port=0": {"", ""},
		"-health-addr=127.0.0.1:1 -metrics-addr=127.0.0.1:2 -prometheus-port=0": {"127.0.0.1:1", "127.0.0.1:2"},
	} {
		c, err := configOf(t, &bytes.Buffer{}, strings.Fields(args)...)
		if err != nil || c.HealthAddr != want[0] || c.MetricsAddr != want[1] {
			t.Errorf("%s: %q, %q, %v", args, c.HealthAddr, c.MetricsAddr, err)
		}
	}
}

// Profiles never share an address with what everybody may read.
func TestProfilesAreApart(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"-metrics-addr", "-health-addr"} {
		c, err := configOf(t, &bytes.Buffer{}, "-enable-pprof", "-pprof-port=6060", flag+"=127.0.0.1:6060")
		if err == nil {
			t.Errorf("%s: %+v", flag, c.Pages)
		}
	}
	c, err := configOf(t, &bytes.Buffer{}, "-enable-pprof", "-pprof-port=6061")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Pages {
		if strings.Contains(p.Pattern, "pprof") != (p.Addr == "127.0.0.1:6061") {
			t.Errorf("%s at %s", p.Pattern, p.Addr)
		}
	}
}

func TestLogs(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"-v=0":                            "level=INFO",
		"-v=4":                            "level=INFO",
		"-v=5":                            "level=DEBUG",
		"-v 10 -log-format-json":          `"level":"DEBUG"`,
		"-log-level=debug":                "level=DEBUG",
		"-log-level=warn -v=9":            "level=WARN",
		"-log-level=off":                  "",
		"-log-format=json":                `"level":"INFO"`,
		"-log-format-json -log_dir=/l":    `"level":"WARN","msg":"flag -log_dir of klog has no effect`,
		"-vmodule=a=5 -stderrthreshold=2": "flag -vmodule of klog",
	} {
		var log bytes.Buffer
		c, err := configOf(t, &log, strings.Fields(args)...)
		if err != nil {
			t.Errorf("%s: %v", args, err)
			continue
		}
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
			c.Log.Log(t.Context(), level, "line")
		}
		if first, _, _ := strings.Cut(log.String(), "\n"); !strings.Contains(first, want) || want == "" && first != "" {
			t.Errorf("%q: %s", args, first)
		}
	}
}

// What cannot be meant is said before anything is served.
func TestOptionsThatAreWrong(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"-healthz-path=healthz":      "want a path",
		"-healthz-path=/{x}":         "want a path",
		"-healthz-path=/health/live": "is served already",
		"-healthz-path=/metrics":     "is served already",
		"-healthz-timeout=0s":        "healthz-timeout 0s",
		"-healthz-port=-1":           "healthz-port -1",
		"-prometheus-port=65536":     "prometheus-port 65536",
		"-pprof-port=0":              "pprof-port 0",
		"-log-format=xml":            "want text or json",
		"-metrics-backend=":          "only Prometheus",
		"-log-format-json false":     `argument "false" is no flag`,
	} {
		if _, err := configOf(t, &bytes.Buffer{}, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}

func TestPrintVersion(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := PrintVersion(&out); err != nil || !strings.HasPrefix(out.String(), `{"version":"`) || !strings.Contains(out.String(), `","buildDate":"`) {
		t.Errorf("%v: %s", err, &out)
	}
}
