package provider

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
)

// Config holds what [Serve] needs; [Main] fills it from flags.
type Config struct {
	// Name is the provider's name in spec.provider of a class.
	Name string
	// Endpoint is the path of the socket; "unix://" before it is accepted.
	Endpoint string
	// SocketGID is the group that may use the socket; negative for none.
	SocketGID int
	// HealthAddr serves /health/ready, /health/live and /metrics; empty for none.
	HealthAddr string
	// MetricsAddr serves /metrics instead, if set.
	MetricsAddr string
	// Pages are served beside these.
	Pages []Page
	Open  OpenFunc
	Log   *slog.Logger
}

// Page is something to serve over HTTP.
type Page struct {
	// Addr and Pattern say where; a pattern is as [http.ServeMux] wants it.
	Addr, Pattern string
	Handler       http.Handler
}

// Main runs a provider until SIGTERM or SIGINT; it never returns. Flags that the
// provider defines on [flag.CommandLine] before the call are parsed with its own.
func Main(name string, open OpenFunc) {
	cfg := Config{Name: name, Open: open}
	level, format, asked, output := slog.LevelInfo, "", false, ""
	flag.StringVar(&cfg.Endpoint, "endpoint", "/var/run/secrets-store-csi-providers/"+name+".sock", "path of the provider's unix socket")
	flag.IntVar(&cfg.SocketGID, "socket-gid", -1, "group that may use the socket, when driver and provider do not both run as root")
	flag.StringVar(&cfg.HealthAddr, "health-addr", ":8080", "address of /health/ready, /health/live and /metrics; empty for none")
	flag.StringVar(&cfg.MetricsAddr, "metrics-addr", "", "address of /metrics, if it shall not be at health-addr")
	flag.Func("log-level", "trace, debug, info, warn, error or off (default info)", func(text string) error {
		level = logLevel(text)
		return nil
	})
	flag.StringVar(&format, "log-format", "text", "text or json")
	flag.BoolVar(&asked, "version", false, "print the version and exit")
	flag.StringVar(&output, "output", "json", "how the version is printed: json, json-pretty or yaml")
	flag.Parse()
	if asked {
		os.Exit(printVersion(output))
	}
	cfg.Log = newLog(os.Stderr, format, &level)
	os.Exit(Run(cfg))
}

// Run is [Main] for a program that has flags of its own for everything: [Serve] until
// SIGTERM or SIGINT. It logs why it ended, and returns the code to exit with.
func Run(cfg Config) (code int) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := Serve(ctx, cfg); err != nil {
		if cfg.Log != nil {
			cfg.Log.LogAttrs(ctx, slog.LevelError, "provider stopped", slog.String("err", err.Error()))
		}
		return 1
	}
	return 0
}

func (c *Config) check() error {
	switch {
	case !validName(c.Name):
		return fmt.Errorf("provider name %q: want 1 to 30 letters, digits, - or _", c.Name)
	case c.Endpoint == "":
		return errors.New("endpoint is required")
	case c.Open == nil:
		return errors.New("open is required")
	case c.Log == nil:
		return errors.New("log is required")
	}
	return nil
}

// levelOff is above every level that is used.
const levelOff = slog.LevelError + 100

// logLevel reads the names that providers' users know; others mean info.
func logLevel(text string) slog.Level {
	switch text {
	case "trace", "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	case "off":
		return levelOff
	}
	return slog.LevelInfo
}

func newLog(w io.Writer, format string, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func printVersion(format string) (code int) {
	if err := buildOf(BuildInfo()).print(os.Stdout, format); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
