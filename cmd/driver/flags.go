package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	providerTimeout     = 100 * time.Second // below kubelet's 2 minutes
	providerConcurrency = 64
	gcPercent           = 50              // memory on every node is worth more than this processor time
	drainTime           = 5 * time.Second // for records, when the driver is told to stop
)

// options are the command line. Names and defaults of the first block are those of
// the upstream driver. (driver-contract 8)
type options struct {
	endpoint, driverName, nodeID string
	providerVolume, moreVolumes  string
	metricsAddr, metricsBackend  string
	rotation                     bool
	rotationInterval             time.Duration
	pprof                        bool
	pprofPort                    int
	maxResponse                  int
	providerHealth               bool
	providerHealthInterval       time.Duration
	logJSON, version             bool
	kubeconfig                   string
	verbosity                    int

	healthAddr                   string
	kubeletPath, registrationDir string
	providerSocketGID            int
	allowOverrides               bool
	podsDir                      string
	maxVolumeBytes, maxNodeBytes int64
	auditLog                     string
	contentHashKey               string

	warnings []string
}

// removedFlags were flags of earlier upstream releases; klogFlags are those of its
// log library. Both are accepted and have no effect.
func removedFlags() []string {
	return []string{"debug", "log-report-caller", "min-provider-version", "grpc-supported-providers", "filtered-watch-secret"}
}

func klogFlags() []string {
	return []string{
		"vmodule", "logtostderr", "alsologtostderr", "stderrthreshold", "log_dir", "log_file", "log_file_max_size",
		"log_backtrace_at", "add_dir_header", "skip_headers", "skip_log_headers", "one_output",
	}
}

// ignored is a flag without effect. It may stand alone, as a boolean does.
type ignored struct {
	name string
	note func(name string)
}

func (i *ignored) String() string   { return "" }
func (i *ignored) Set(string) error { i.note(i.name); return nil }
func (i *ignored) IsBoolFlag() bool {
	return slices.Contains([]string{
		"debug", "log-report-caller", "filtered-watch-secret",
		"logtostderr", "alsologtostderr", "add_dir_header", "skip_headers", "skip_log_headers", "one_output",
	}, i.name)
}

// parse reads the command line and says on stderr what is wrong with it.
func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("driver", flag.ContinueOnError)
	f.SetOutput(stderr)
	o.defineKnown(f)
	o.defineOwn(f)
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if err := o.check(f.Args()); err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return nil, err
	}
	return o, nil
}

func (o *options) defineKnown(f *flag.FlagSet) {
	f.StringVar(&o.endpoint, "endpoint", "unix://tmp/csi.sock", "CSI endpoint")
	f.StringVar(&o.driverName, "drivername", "secrets-store.csi.k8s.io", "name of the driver")
	f.StringVar(&o.nodeID, "nodeid", "", "name of the node")
	f.BoolVar(&o.logJSON, "log-format-json", false, "write log lines as JSON")
	f.StringVar(&o.providerVolume, "provider-volume", "/var/run/secrets-store-csi-providers", "directory of provider sockets")
	f.StringVar(&o.moreVolumes, "additional-provider-volume-paths", "/etc/kubernetes/secrets-store-csi-providers",
		"comma separated further directories of provider sockets, searched first")
	f.StringVar(&o.metricsAddr, "metrics-addr", ":8095", "address of /metrics")
	f.StringVar(&o.metricsBackend, "metrics-backend", "Prometheus", "the only one is Prometheus")
	f.BoolVar(&o.rotation, "enable-secret-rotation", false, "refresh the content of mounted volumes")
	f.DurationVar(&o.rotationInterval, "rotation-poll-interval", 2*time.Minute, "time between two refreshes of a volume, with a tenth of jitter; a class can have its own")
	f.BoolVar(&o.pprof, "enable-pprof", false, "serve /debug/pprof/ on the loopback address")
	f.IntVar(&o.pprofPort, "pprof-port", 6065, "port of /debug/pprof/")
	f.IntVar(&o.maxResponse, "max-call-recv-msg-size", 4194304, "most bytes that a provider may answer with")
	f.BoolVar(&o.providerHealth, "provider-health-check", false, "without effect: connections are watched all the time")
	f.DurationVar(&o.providerHealthInterval, "provider-health-check-interval", 2*time.Minute, "without effect")
	f.BoolVar(&o.version, "version", false, "print the version and exit")
	f.StringVar(&o.kubeconfig, "kubeconfig", "", "path of a kubeconfig, outside a cluster")
	f.IntVar(&o.verbosity, "v", 0, "log verbosity; 4 and more for every call")
	for _, name := range removedFlags() {
		f.Var(&ignored{name, func(name string) { o.warn("flag --%s was removed and has no effect: delete it", name) }}, name, "removed, without effect")
	}
	for _, name := range klogFlags() {
		f.Var(&ignored{name, func(name string) { o.warn("flag -%s of klog has no effect: logs go to standard error", name) }}, name, "without effect")
	}
}

func (o *options) defineOwn(f *flag.FlagSet) {
	f.StringVar(&o.healthAddr, "health-addr", ":9808", "address of /healthz and /readyz; empty for none")
	f.StringVar(&o.kubeletPath, "kubelet-registration-path", "",
		"path of the CSI socket as kubelet sees it; the driver then registers itself, without a sidecar")
	f.StringVar(&o.registrationDir, "registration-dir", "/registration", "directory of kubelet's registration sockets")
	f.IntVar(&o.providerSocketGID, "provider-socket-gid", -1, "group that may make provider sockets; without it only root may")
	f.StringVar(&o.podsDir, "kubelet-pods-dir", "/var/lib/kubelet/pods", "kubelet's directory of pods")
	f.Int64Var(&o.maxVolumeBytes, "max-volume-bytes", 32<<20, "most bytes that one volume may have; 0 is no bound")
	f.Int64Var(&o.maxNodeBytes, "max-node-bytes", 1<<30, "most bytes that all volumes of the node may have; 0 is no bound")
	f.StringVar(&o.auditLog, "audit-log", "", "file for one line of JSON per delivery, refresh and synced Secret, or - for the standard output; empty for none")
	f.StringVar(&o.contentHashKey, "content-hash-key-file", "",
		"file with the key of the content hash that filled Secrets carry as an annotation; empty for no hash")
	f.BoolVar(&o.allowOverrides, "allow-attribute-overrides", false, "let volume attributes of a pod override parameters of its class")
}

func (o *options) warn(format string, args ...any) {
	o.warnings = append(o.warnings, fmt.Sprintf(format, args...))
}

func (o *options) check(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q: flags only", rest[0])
	case o.version:
		return nil
	case !strings.EqualFold(o.metricsBackend, "prometheus"):
		return fmt.Errorf("--metrics-backend=%s: only Prometheus is supported", o.metricsBackend)
	case o.maxResponse <= 0:
		return errors.New("--max-call-recv-msg-size must be positive")
	case o.rotationInterval <= 0:
		return errors.New("--rotation-poll-interval must be positive")
	case o.maxVolumeBytes < 0, o.maxNodeBytes < 0:
		return errors.New("--max-volume-bytes and --max-node-bytes must not be negative")
	case len(o.providerDirs()) == 0:
		return errors.New("--provider-volume is required")
	}
	if o.providerHealth {
		o.warn("flag --provider-health-check has no effect: connections to providers are watched all the time")
	}
	return nil
}

// interval is the time between two refreshes; 0 is none.
func (o *options) interval() time.Duration {
	if !o.rotation {
		return 0
	}
	return o.rotationInterval
}

// providerDirs lists where sockets are looked for, first match first.
func (o *options) providerDirs() []string {
	var dirs []string
	for dir := range strings.SplitSeq(o.moreVolumes+","+o.providerVolume, ",") {
		if dir = strings.TrimSpace(dir); dir != "" && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func (o *options) logger(w io.Writer) *slog.Logger {
	level := slog.LevelInfo
	if o.verbosity >= 4 {
		level = slog.LevelDebug
	}
	handler := &slog.HandlerOptions{Level: level}
	if o.logJSON {
		return slog.New(slog.NewJSONHandler(w, handler))
	}
	return slog.New(slog.NewTextHandler(w, handler))
}

func (o *options) kubeConfig() (*rest.Config, error) {
	if o.kubeconfig != "" {
		return clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	}
	return rest.InClusterConfig()
}
