package vault

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/provider"
)

const (
	clientToken = "hvs.client-token"
	accountUID  = "sa-1"
)

//nolint:gochecknoglobals // nothing changes them
var (
	podJWT     = tokenFor(webPod, accountUID)
	webPod     = provider.Pod{Name: "web-0", Namespace: "shop", UID: "u1", ServiceAccount: "web"}
	loginReply = loginAs(webPod, clientToken, `"lease_duration":3600,"renewable":true`)
)

// tokenFor is a token such as Kubernetes makes for a pod, but for its signature.
func tokenFor(pod provider.Pod, uid string) string {
	text, err := json.Marshal(map[string]any{
		"sub": "system:serviceaccount:" + pod.Namespace + ":" + pod.ServiceAccount,
		"exp": 4102444800, // 2100
		"kubernetes.io": map[string]any{
			"namespace":      pod.Namespace,
			"pod":            map[string]string{"name": pod.Name, "uid": pod.UID},
			"serviceaccount": map[string]string{"name": pod.ServiceAccount, "uid": uid},
		},
	})
	if err != nil {
		panic(err)
	}
	return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString(text) + ".sig"
}

// loginAs is what Kubernetes auth answers to a pod.
func loginAs(pod provider.Pod, token, more string) string {
	return fmt.Sprintf(`{"request_id":"r0","auth":{"client_token":%q,%s,"metadata":{"role":"app",`+
		`"service_account_name":%q,"service_account_namespace":%q,"service_account_uid":%q}}}`,
		token, more, pod.ServiceAccount, pod.Namespace, accountUID)
}

// fakeVault speaks Vault's HTTP shapes over TLS.
type fakeVault struct {
	*httptest.Server
	caFile string

	mu      sync.Mutex
	answers map[string][]answer // by "METHOD /path?query"; the last one repeats
	calls   []call
}

type answer struct {
	status int
	body   string
	header map[string]string
}

type call struct {
	Request string
	Header  http.Header
	Body    string
}

func newFakeVault(t *testing.T) *fakeVault {
	t.Helper()
	f := &fakeVault{answers: map[string][]answer{}}
	f.Server = httptest.NewUnstartedServer(f)
	f.EnableHTTP2 = true
	f.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	f.StartTLS()
	t.Cleanup(f.Close)
	f.caFile = writeFile(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}))
	f.on("POST /v1/auth/kubernetes/login", answer{body: loginReply})
	return f
}

func writeFile(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (f *fakeVault) on(request string, answers ...answer) { f.answers[request] = answers }

func (f *fakeVault) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	name := r.Method + " " + r.URL.RequestURI()
	f.mu.Lock()
	f.calls = append(f.calls, call{name, r.Header.Clone(), string(body)})
	queue := f.answers[name]
	a := answer{status: http.StatusNotFound, body: `{"errors":[]}`}
	if len(queue) > 0 {
		a = queue[0]
	}
	if len(queue) > 1 {
		f.answers[name] = queue[1:]
	}
	f.mu.Unlock()
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	_, _ = io.WriteString(w, a.body)
}

// requests lists the calls so far.
func (f *fakeVault) requests() (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		names = append(names, c.Request)
	}
	return names
}

func (f *fakeVault) call(i int) call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[i]
}

// rig is a provider, and everything that it logged.
type rig struct {
	*Provider
	log *bytes.Buffer
}

// newRig makes a provider for f with short waits. Each change of the
// configuration is applied before.
func newRig(t *testing.T, f *fakeVault, change ...func(*Config)) *rig {
	t.Helper()
	log := &bytes.Buffer{}
	c := Config{
		Flags:  Flags{Address: f.URL, AuthMount: "kubernetes", CACert: f.caFile, CacheSize: 1000, MaxStaleIfError: time.Hour},
		Getenv: func(string) string { return "" },

		VersionKey: func(context.Context) []byte { return []byte("key") },

		Log: slog.New(slog.NewTextHandler(&lockedWriter{w: log}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, ch := range change {
		ch(&c)
	}
	p, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	p.library.MinRetryWait, p.library.MaxRetryWait = time.Millisecond, 2*time.Millisecond
	return &rig{p, log}
}

type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// mount calls Mount with a class of role app, and checks that no token shows.
func (r *rig) mount(t *testing.T, objects string, params ...string) (*provider.Response, error) {
	t.Helper()
	req := newRequest(objects, params...)
	resp, err := r.Mount(t.Context(), req)
	r.checkHygiene(t, err)
	return resp, err
}

func newRequest(objects string, params ...string) *provider.Request {
	req := &provider.Request{
		Pod:        webPod,
		Tokens:     provider.Tokens{"vault": {Value: provider.Secret(podJWT), Expires: time.Now().Add(time.Hour)}},
		Class:      "web",
		Parameters: map[string]string{"roleName": "app", "objects": objects},
		Mode:       0o644,
	}
	for i := 0; i+1 < len(params); i += 2 {
		req.Parameters[params[i]] = params[i+1]
	}
	return req
}

func (r *rig) checkHygiene(t *testing.T, err error) {
	t.Helper()
	for _, secret := range []string{podJWT, clientToken, "s3cr3t"} {
		if err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("error shows a secret: %v", err)
		}
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("log shows a secret: %s", r.log)
		}
	}
}

func checkFailure(t *testing.T, err error, kind provider.Kind, texts ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one of kind %v", kind)
		return
	}
	if got := provider.KindOf(err); got != kind {
		t.Errorf("kind %v, want %v: %v", got, kind, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not contain %q", err, text)
		}
	}
	if strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' }) {
		t.Errorf("error has more than one line: %q", err)
	}
}

// kv2 is a reply of KV version 2.
func kv2(data map[string]any) string {
	text, err := json.Marshal(data)
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"request_id":"r1","lease_id":"","renewable":false,"lease_duration":0,`+
		`"data":{"data":%s,"metadata":{"version":3}},"wrap_info":null,"warnings":null,"auth":null,"mount_type":"kv"}`, text)
}
