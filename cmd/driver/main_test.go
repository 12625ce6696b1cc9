package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestFlagsOfTheUpstreamDriver(t *testing.T) {
	t.Parallel()
	// As its manifests, its chart and old installations pass them. (driver-contract 8 and 9.2)
	args := strings.Fields(`--endpoint=unix:///csi/csi.sock --nodeid=n1 -drivername d --log-format-json=true
		--provider-volume=/a --additional-provider-volume-paths=/b,/c --metrics-addr=:1 --metrics-backend=prometheus
		--enable-secret-rotation=true --rotation-poll-interval=30s --enable-pprof=true --pprof-port=7
		--max-call-recv-msg-size=5 --provider-health-check=true --provider-health-check-interval=1m --kubeconfig=/k
		-v=5 -vmodule=a=1 -logtostderr -alsologtostderr=true -stderrthreshold=2 -log_dir=/l -log_file=f -log_file_max_size=1
		-log_backtrace_at=a:1 -add_dir_header -skip_headers -skip_log_headers=false -one_output
		--debug --log-report-caller=true --min-provider-version=1 --grpc-supported-providers=a;b --filtered-watch-secret=true`)
	var stderr bytes.Buffer
	o, err := parse(args, &stderr)
	if err != nil {
		t.Fatal(err, stderr.String())
	}
	if diff := cmp.Diff([]string{"/b", "/c", "/a"}, o.providerDirs()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if o.nodeID != "n1" || o.driverName != "d" || o.verbosity != 5 || !o.rotation || o.rotationInterval != 30*time.Second {
		t.Errorf("%+v", o)
	}
	for _, name := range []string{"--debug", "--filtered-watch-secret", "--grpc-supported-providers", "-one_output", "-vmodule"} {
		if !strings.Contains(strings.Join(o.warnings, "\n"), "flag "+name+" ") {
			t.Errorf("no warning about %s", name)
		}
	}
}

func TestFlagsThatAreWrong(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--no-such-flag"},
		{"extra"},
		{"--metrics-backend=statsd"},
		{"--max-call-recv-msg-size=0"},
		{"--rotation-poll-interval=0s"},
		{"--rotation-poll-interval=2"},
		{"--provider-volume=", "--additional-provider-volume-paths= ,"},
	} {
		var stderr bytes.Buffer
		if _, err := parse(args, &stderr); err == nil || stderr.Len() == 0 {
			t.Errorf("%q: %v, %q on stderr", args, err, stderr.String())
		}
	}
}

func TestProviderDirs(t *testing.T) {
	t.Parallel()
	for more, want := range map[string][]string{
		"/b": {"/b", "/a"}, "": {"/a"}, "/x, /b , ,/a,/x": {"/x", "/b", "/a"},
	} {
		o, err := parse([]string{"--provider-volume=/a", "--additional-provider-volume-paths=" + more}, &bytes.Buffer{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, o.providerDirs()); diff != "" {
			t.Errorf("%q (-want +got):\n%s", more, diff)
		}
	}
}

func TestVersionIsJSON(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	printVersion(&out)
	var version map[string]string
	if err := json.Unmarshal(out.Bytes(), &version); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"BuildVersion", "GitCommit", "BuildDate"} {
		if _, ok := version[key]; !ok {
			t.Errorf("no %s in %s", key, out.String())
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	o, err := parse([]string{"--enable-pprof"}, &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	var broken error
	failing := []check{{"class lookup", func(context.Context) error { return broken }}}
	served := pages(o, nil, failing)
	get := func(addr, path string) (int, string) {
		w := httptest.NewRecorder()
		served[addr].ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
		return w.Code, w.Body.String()
	}
	if code, body := get(":9808", "/readyz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("ready: %d %s", code, body)
	}
	broken = errors.New("forbidden")
	if code, body := get(":9808", "/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, "class lookup: forbidden") {
		t.Errorf("not ready: %d %s", code, body)
	}
	if code, _ := get(":9808", "/healthz"); code != http.StatusOK {
		t.Errorf("alive: %d", code)
	}
	if code, _ := get(":8095", "/metrics"); code != http.StatusOK {
		t.Errorf("metrics: %d", code)
	}
	if code, _ := get("127.0.0.1:6065", "/debug/pprof/"); code != http.StatusOK {
		t.Errorf("profiles: %d", code)
	}
}

func TestSocketDir(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "deep", "er")
	if err := makeSocketDir([]string{dir}, -1); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info, err)
	}
	if os.Getuid() != 0 {
		t.Skip("only root gives a directory to a group")
	}
	if err := makeSocketDir([]string{dir}, 4711); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o770 {
		t.Errorf("%v, %v", info, err)
	}
}
