package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom/strongroom/provider/providertest"
)

// asProgram in the environment makes the test's binary the program.
const asProgram = "STRONGROOM_RUN_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	flag.Bool(update, false, "write the tables of the documentation")
	os.Exit(m.Run())
}

// program is provider-azure in a process of its own.
type program struct {
	cmd     *exec.Cmd
	out     bytes.Buffer
	log     providertest.Buffer
	socket  string
	health  string // the address of each
	metrics string
	profile string
	ended   chan struct{}
}

// start runs the program until the end of the test.
func start(t *testing.T, args ...string) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{cmd: exec.CommandContext(t.Context(), self, args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), asProgram+"=1")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // the code is in ProcessState
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
		if strings.Contains(p.log.String(), "DATA RACE") {
			t.Errorf("race:\n%s", &p.log)
		}
	})
	return p
}

// serve runs the program at a socket and ports of its own until it answers.
func serve(t *testing.T, args ...string) *program {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "azure.sock")
	ports := freePorts(t, 3)
	p := start(t, append([]string{
		"-endpoint=unix://" + socket, "-healthz-port=" + ports[0], "-prometheus-port=" + ports[1], "-pprof-port=" + ports[2],
	}, args...)...)
	p.socket, p.health, p.metrics, p.profile = socket, "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1], "127.0.0.1:"+ports[2]
	eventually(t, func() error {
		return get("http://"+p.health+"/health/ready", http.StatusOK, contains(""))
	})
	return p
}

// code waits for the end.
func (p *program) code(t *testing.T) int {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(time.Minute):
		t.Fatalf("it does not end: %s", &p.log)
	}
	return p.cmd.ProcessState.ExitCode()
}

func freePorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for range n {
		l := listen(t, "tcp", "127.0.0.1:0")
		defer func() { _ = l.Close() }() // all of them are taken until there are enough
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	return ports
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("not in a minute: %v", err)
}

// get fails unless the answer is as wanted.
func get(url string, status int, fits func(body string) bool) error {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != status || !fits(string(body)) {
		return fmt.Errorf("%s: %s %.2000s", url, resp.Status, body)
	}
	return nil
}

func contains(part string) func(string) bool {
	return func(body string) bool { return strings.Contains(body, part) }
}

// As the manifests and the chart of the existing provider start it. (azure-contract 11.1)
func TestArgumentsOfTheExistingProvider(t *testing.T) {
	t.Parallel()
	p := serve(t, "--construct-pem-chain=true", "--healthz-path=/healthz", "--healthz-timeout=5s", "--log-format-json=true", "-v=5",
		"--metrics-backend=PROMETHEUS", "--write-cert-and-key-in-separate-files=false", "--custom-user-agent=an agent", "-logtostderr")
	info, err := os.Lstat(p.socket)
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("socket: %v, %v", info, err)
	}
	for _, want := range []string{
		`grpc_request_bucket{grpc_code="OK",grpc_method="/grpc.health.v1.Health/Check",os_type="linux",provider="azure",` +
			`service_name="csi-secrets-store-provider-azure",le="0.1"}`,
		"strongroom_azure_sessions 0", `strongroom_azure_throttled_total{by="keyvault"} 0`,
	} {
		if err := get("http://"+p.metrics+"/metrics", http.StatusOK, contains(want)); err != nil {
			t.Errorf("no %s: %v", want, err)
		}
	}
	if err := get("http://"+p.health+"/healthz", http.StatusOK, func(body string) bool { return body == "ok" }); err != nil {
		t.Error(err)
	}
	if !strings.Contains(p.log.String(), `"msg":"serving"`) || !strings.Contains(p.log.String(), "flag -logtostderr of klog has no effect") {
		t.Errorf("log: %s", &p.log)
	}
}

// Told to stop, it ends well and takes its socket with it.
func TestStop(t *testing.T) {
	t.Parallel()
	p := serve(t, "-log-format=json")
	if err := get("http://"+p.health+"/health/live", http.StatusOK, contains("")); err != nil {
		t.Error(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := p.code(t); code != 0 || strings.Contains(p.log.String(), `"level":"ERROR"`) {
		t.Errorf("exit code %d: %s", code, &p.log)
	}
	if _, err := os.Lstat(p.socket); err == nil {
		t.Error("the socket is still there")
	}
}

// Profiles are for those who are on the node, and only if the operator wants them.
// (azure-contract 17.28)
func TestProfiles(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{nil, {"-enable-pprof"}} {
		p := serve(t, args...)
		for _, address := range []string{p.health, p.metrics} {
			for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1", "/debug/vars"} {
				if err := get("http://"+address+path, http.StatusNotFound, contains("")); err != nil {
					t.Error(err)
				}
			}
		}
		err := get("http://"+p.profile+"/debug/pprof/heap?debug=1", http.StatusOK, contains("heap profile"))
		if (err == nil) != (args != nil) {
			t.Errorf("with %q: %v", args, err)
		}
		if err := get("http://"+outside(t, p.profile)+"/debug/pprof/", http.StatusOK, contains("")); err == nil {
			t.Errorf("with %q: profiles for everybody", args)
		}
		if err := get("http://"+outside(t, p.health)+"/healthz", http.StatusOK, contains("ok")); err != nil {
			t.Errorf("kubelet does not reach it: %v", err)
		}
	}
}

// outside is the address as others than this machine see it, if there is one.
func outside(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if ip, ok := a.(*net.IPNet); ok && !ip.IP.IsLoopback() && ip.IP.To4() != nil {
			return net.JoinHostPort(ip.IP.String(), port)
		}
	}
	if testing.Short() {
		t.Skip("this machine has no address but loopback")
	}
	t.Fatal("this machine has no address but loopback: -short goes without")
	return ""
}

// (azure-contract 17.29)
func TestHealth(t *testing.T) {
	t.Parallel()
	p := serve(t, "-healthz-timeout=200ms", "-healthz-path=/alive")
	healthy := func(status int, body string) error { return get("http://"+p.health+"/alive", status, contains(body)) }
	if err := healthy(http.StatusOK, "ok"); err != nil {
		t.Error(err)
	}
	if err := os.Remove(p.socket); err != nil {
		t.Fatal(err)
	}
	if err := healthy(http.StatusServiceUnavailable, p.socket); err != nil {
		t.Errorf("socket gone: %v", err)
	}
	hung := listen(t, "unix", p.socket) // it never answers
	began := time.Now()
	if err := healthy(http.StatusServiceUnavailable, p.socket); err != nil || time.Since(began) > 20*time.Second {
		t.Errorf("server hung: %v after %v", err, time.Since(began))
	}
	if err := hung.Close(); err != nil {
		t.Fatal(err)
	}
}

// A port that is taken ends the program, which leaves no socket behind; a socket that
// nobody listens at does not. (azure-contract 17.29, 17.30)
func TestWhatIsInTheWay(t *testing.T) {
	t.Parallel()
	taken := listen(t, "tcp", ":0")
	defer func() { _ = taken.Close() }()
	_, port, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	stale := listen(t, "unix", filepath.Join(dir, "azure.sock"))
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := stale.Close(); err != nil {
		t.Fatal(err)
	}
	free := freePorts(t, 3)
	for _, name := range []string{"healthz-port", "prometheus-port", "pprof-port"} {
		p := start(t, "-endpoint=unix://"+dir+"/azure.sock", "-enable-pprof",
			"-healthz-port="+free[0], "-prometheus-port="+free[1], "-pprof-port="+free[2], "-"+name+"="+port)
		if code := p.code(t); code != 1 || !strings.Contains(p.log.String(), "address already in use") || !strings.Contains(p.log.String(), port) {
			t.Errorf("%s taken: exit code %d: %s", name, code, &p.log)
		}
		if _, err := os.Lstat(filepath.Join(dir, "azure.sock")); err == nil {
			t.Errorf("%s taken: the socket is still there", name)
		}
	}
}

// A start that cannot be meant ends with a text that says what to write. (azure-contract 9.5)
func TestFlagsThatAreWrong(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"-endpoint=tcp://127.0.0.1:1":      "there is only a unix socket: use unix:///provider/azure.sock",
		"-endpoint=":                       "want the path of a unix socket",
		"-metrics-backend=statsd":          "only Prometheus is supported",
		"-healthz-port=70000":              "healthz-port 70000: want a port",
		"-enable-pprof true":               `argument "true" is no flag`,
		"-cloud-name=Moon":                 `cloudName "Moon" is not valid`,
		"-keyvault-api-version=latest":     "keyvault-api-version",
		"-max-stale-if-error=-1s":          "max-stale-if-error -1s",
		"-token-proxy-url=http://a:pw@b/":  "token-proxy-url: want an https address",
		"-cloud-files-directory=relative":  "want an absolute path",
		"-log-level=loud":                  "want trace, debug, info, warn, error or off",
		"-healthz-port=0 -healthz-path=no": "want a path, as in /healthz",
	} {
		base := []string{"-endpoint=" + filepath.Join(t.TempDir(), "azure.sock"), "-healthz-port=0", "-prometheus-port=0"}
		p := start(t, append(base, strings.Fields(args)...)...)
		text := func() string { return strings.ReplaceAll(p.log.String(), `\"`, `"`) }
		if code := p.code(t); code != 1 || !strings.Contains(text(), want) || strings.Contains(text(), "pw") {
			t.Errorf("%s: exit code %d: %s", args, code, text())
		}
	}
	if code := start(t, "-no-such-flag").code(t); code != 2 {
		t.Errorf("unknown flag: exit code %d", code)
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	p := start(t, "--version")
	var version map[string]string
	if code, err := p.code(t), json.Unmarshal(p.out.Bytes(), &version); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v: %s", code, err, &p.out)
	}
	if _, ok := version["buildDate"]; !ok || version["version"] == "" || len(version) != 2 {
		t.Errorf("version: %v", version)
	}
}

// Ports can be moved to one address, and off.
func TestAddresses(t *testing.T) {
	t.Parallel()
	free := freePorts(t, 1)
	address := net.JoinHostPort("127.0.0.1", free[0])
	p := start(t, "-endpoint="+filepath.Join(t.TempDir(), "azure.sock"), "-health-addr="+address, "-prometheus-port=0")
	eventually(t, func() error { return get("http://"+address+"/healthz", http.StatusOK, contains("ok")) })
	if err := get("http://"+address+"/metrics", http.StatusOK, contains("grpc_request_count")); err != nil {
		t.Error(err)
	}
	if strings.Contains(p.log.String(), "level=ERROR") {
		t.Error(p.log.String())
	}
}
