package operate

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// Options are set by flags. Names and defaults of the first block are those of the
// existing provider. (azure-contract 9.1)
type Options struct {
	// Version asks for the version, and nothing else.
	Version bool

	endpoint                string
	healthPort, metricsPort int
	healthPath              string
	healthTimeout           time.Duration
	metricsBackend          string
	pprof                   bool
	pprofPort               int
	logJSON                 bool
	verbosity               int

	socketGID               int
	healthAddr, metricsAddr string
	logLevel, logFormat     string

	ignored []string
}

// Register adds the flags to set.
func (o *Options) Register(set *flag.FlagSet) {
	set.StringVar(&o.endpoint, "endpoint", "/var/run/secrets-store-csi-providers/azure.sock",
		"path of the provider's unix socket, also as in unix:///provider/azure.sock")
	set.BoolVar(&o.Version, "version", false, "print version and build date as JSON and exit")
	set.BoolVar(&o.logJSON, "log-format-json", false, "write log lines as JSON, as log-format=json does")
	set.BoolVar(&o.pprof, "enable-pprof", false, "serve /debug/pprof/ on the loopback address")
	set.IntVar(&o.pprofPort, "pprof-port", 6060, "port of /debug/pprof/")
	set.IntVar(&o.healthPort, "healthz-port", 8989, "port of healthz-path, /health/ready and /health/live; 0 for none")
	set.StringVar(&o.healthPath, "healthz-path", "/healthz", "path that says whether the provider answers at its socket")
	set.DurationVar(&o.healthTimeout, "healthz-timeout", 5*time.Second, "how long healthz-path waits for the answer")
	set.StringVar(&o.metricsBackend, "metrics-backend", "Prometheus", "the only one is Prometheus")
	set.IntVar(&o.metricsPort, "prometheus-port", 8898, "port of /metrics; 0 for the one of healthz-path")
	set.IntVar(&o.verbosity, "v", 0, "log verbosity; from 5 on as log-level=debug")
	for _, name := range klogFlags() {
		set.Var(&ignored{name, o}, name, "without effect: logs go to standard error")
	}
	o.registerOwn(set)
}

// registerOwn adds the flags that our other providers have too.
func (o *Options) registerOwn(set *flag.FlagSet) {
	set.IntVar(&o.socketGID, "socket-gid", -1, "group that may use the socket, when driver and provider do not both run as root")
	set.StringVar(&o.healthAddr, "health-addr", "", "address instead of healthz-port, as in 127.0.0.1:8989")
	set.StringVar(&o.metricsAddr, "metrics-addr", "", "address instead of prometheus-port, as in 127.0.0.1:8898")
	set.StringVar(&o.logLevel, "log-level", "", "trace, debug, info, warn, error or off, whatever v is (default info)")
	set.StringVar(&o.logFormat, "log-format", "text", "text or json")
}

// klogFlags are those of the existing provider's log library.
func klogFlags() []string {
	return []string{
		"vmodule", "logtostderr", "alsologtostderr", "stderrthreshold", "log_dir", "log_file", "log_file_max_size",
		"log_backtrace_at", "add_dir_header", "skip_headers", "skip_log_headers", "one_output", "legacy_stderr_threshold_behavior",
	}
}

// ignored is a flag without effect. It may stand alone, as a boolean does.
type ignored struct {
	name string
	o    *Options
}

func (i *ignored) String() string { return "" }

func (i *ignored) Set(string) error {
	i.o.ignored = append(i.o.ignored, i.name)
	return nil
}

func (i *ignored) IsBoolFlag() bool {
	return slices.Contains([]string{
		"logtostderr", "alsologtostderr", "add_dir_header", "skip_headers", "skip_log_headers", "one_output", "legacy_stderr_threshold_behavior",
	}, i.name)
}

// Config is what to serve, once flags are parsed; rest are the arguments that are none,
// and stderr is where logs go.
func (o *Options) Config(rest []string, stderr io.Writer) (provider.Config, error) {
	c := provider.Config{Name: "azure", SocketGID: o.socketGID}
	if err := o.check(rest); err != nil {
		return c, err
	}
	var err error
	if c.Log, err = o.logger(stderr); err != nil {
		return c, err
	}
	if c.Endpoint, err = socketPath(o.endpoint); err != nil {
		return c, err
	}
	c.HealthAddr, c.MetricsAddr = address(o.healthAddr, o.healthPort), address(o.metricsAddr, o.metricsPort)
	if c.HealthAddr != "" {
		c.Pages = append(c.Pages, provider.Page{Addr: c.HealthAddr, Pattern: "GET " + o.healthPath, Handler: health(c, o.healthTimeout)})
	}
	if o.pprof {
		pages := profiles(o.pprofPort)
		if at := pages[0].Addr; at == c.HealthAddr || at == c.MetricsAddr {
			return c, fmt.Errorf("pprof-port %d: health or metrics are served at %s, and profiles must not be: choose another port", o.pprofPort, at)
		}
		c.Pages = append(c.Pages, pages...)
	}
	for _, name := range o.ignored {
		c.Log.Warn("flag -" + name + " of klog has no effect: logs go to standard error")
	}
	return c, nil
}

func (o *Options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("argument %.100q is no flag: a value is joined to its flag by =, as in -construct-pem-chain=false", rest[0])
	case !strings.EqualFold(o.metricsBackend, "prometheus"):
		return fmt.Errorf("metrics-backend %.40q: only Prometheus is supported", o.metricsBackend)
	case !strings.HasPrefix(o.healthPath, "/"), strings.ContainsAny(o.healthPath, "{} \t\r\n?#"):
		return fmt.Errorf("healthz-path %.100q: want a path, as in /healthz", o.healthPath)
	case slices.Contains([]string{"/health/ready", "/health/live", "/metrics"}, o.healthPath):
		return fmt.Errorf("healthz-path %s is served already: choose another one", o.healthPath)
	case o.healthTimeout <= 0:
		return fmt.Errorf("healthz-timeout %s: want a duration, as in 5s", o.healthTimeout)
	}
	return errors.Join(
		checkPort("healthz-port", o.healthPort, 0),
		checkPort("prometheus-port", o.metricsPort, 0),
		checkPort("pprof-port", o.pprofPort, 1))
}

func checkPort(name string, port, least int) error {
	if port < least || port > 65535 {
		return fmt.Errorf("%s %d: want a port, %d to 65535", name, port, least)
	}
	return nil
}

// address is the one that the operator gave, or a port on all of the node's.
func address(given string, port int) string {
	if given != "" || port == 0 {
		return given
	}
	return ":" + strconv.Itoa(port)
}

// socketPath is the path of an endpoint; unix://x/y is /x/y. (azure-contract 9.3)
func socketPath(endpoint string) (string, error) {
	scheme, rest, ok := strings.Cut(endpoint, "://")
	switch {
	case !ok && strings.HasPrefix(endpoint, "/"):
		return endpoint, nil
	case ok && strings.EqualFold(scheme, "unix") && strings.Trim(rest, "/") != "":
		return "/" + strings.TrimLeft(rest, "/"), nil
	case ok && strings.EqualFold(scheme, "tcp"):
		return "", fmt.Errorf("endpoint %.200q: whoever reaches a TCP port could have every secret, so there is only a unix socket: "+
			"use unix:///provider/azure.sock", endpoint)
	}
	return "", fmt.Errorf("endpoint %.200q: want the path of a unix socket, as in unix:///provider/azure.sock", endpoint)
}

// health answers as the existing provider does. (azure-contract 10.1)
func health(c provider.Config, timeout time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		if err := c.Probe(ctx); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok") // who asks notices
	}
}

// profiles show what is in memory, so they are for this node's administrators only.
func profiles(port int) []provider.Page {
	at := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	return []provider.Page{
		{Addr: at, Pattern: "/debug/pprof/", Handler: http.HandlerFunc(pprof.Index)},
		{Addr: at, Pattern: "/debug/pprof/cmdline", Handler: http.HandlerFunc(pprof.Cmdline)},
		{Addr: at, Pattern: "/debug/pprof/profile", Handler: http.HandlerFunc(pprof.Profile)},
		{Addr: at, Pattern: "/debug/pprof/symbol", Handler: http.HandlerFunc(pprof.Symbol)},
		{Addr: at, Pattern: "/debug/pprof/trace", Handler: http.HandlerFunc(pprof.Trace)},
	}
}

func (o *Options) logger(w io.Writer) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: slog.LevelInfo}
	if o.verbosity >= 5 {
		options.Level = slog.LevelDebug
	}
	if o.logLevel != "" {
		levels := map[string]slog.Level{
			"trace": slog.LevelDebug, "debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
			"off": slog.LevelError + 100,
		}
		level, ok := levels[o.logLevel]
		if !ok {
			return nil, fmt.Errorf("log-level %.40q: want trace, debug, info, warn, error or off", o.logLevel)
		}
		options.Level = level
	}
	switch {
	case o.logJSON, o.logFormat == "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	case o.logFormat == "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	}
	return nil, fmt.Errorf("log-format %.40q: want text or json", o.logFormat)
}
