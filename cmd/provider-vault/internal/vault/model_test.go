package vault

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
)

// model behaves as Vault does, as far as logins, tokens, leases and their ends go.
// What it gives out names the login that it was given to. It fails the test when a
// token is revoked that has live leases.
type model struct {
	t   testing.TB
	url string
	ca  string // file

	mu      sync.Mutex
	methods map[string]string // of auth mounts, where they differ from the mount's name
	login   terms             // what a login gives
	lease   terms             // what a read of db/ gives
	tokens  map[string]*modelToken
	leases  map[string]*modelLease
	count   map[string]int // by operation, and of reads by "METHOD path" also
	serial  int
	value   string          // of every secret
	denied  map[string]bool // by operation, or by "METHOD path"
	fault   func(op operation, r *http.Request) (status int, body string)
	front   func(w http.ResponseWriter, r *http.Request) (answered bool) // sees every request first
	mute    bool                                                         // a refusal does not say that the token is invalid
	untidy  bool                                                         // a token may be revoked although it has leases
}

type terms struct {
	ttl, max  time.Duration
	renewable bool
	kind      string // of token
	uses      int
}

type modelToken struct {
	who          string
	login        int
	made, expiry time.Time
	terms
	left int // uses; negative for ever
	gone bool
}

type modelLease struct {
	token        *modelToken
	made, expiry time.Time
	terms
	gone bool
}

func (l *modelLease) live(now time.Time) bool {
	return !l.gone && l.token.live(now) && now.Before(l.expiry)
}
func (t *modelToken) live(now time.Time) bool { return !t.gone && now.Before(t.expiry) }

func makeModel(t testing.TB) *model {
	t.Helper()
	return &model{
		t: t, methods: map[string]string{}, tokens: map[string]*modelToken{}, leases: map[string]*modelLease{},
		count: map[string]int{}, denied: map[string]bool{}, value: "v0",
		login: terms{ttl: time.Hour, max: 24 * time.Hour, renewable: true, kind: "service"},
		lease: terms{ttl: time.Minute, max: 24 * time.Hour, renewable: true},
	}
}

// newModel serves a model over HTTPS.
func newModel(t *testing.T) *model {
	t.Helper()
	m := makeModel(t)
	s := httptest.NewUnstartedServer(m)
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	m.url = s.URL
	m.ca = writeFile(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
	return m
}

// rigOf makes a provider whose Vault is the model.
func rigOf(t *testing.T, m *model, change ...func(*Config)) *rig {
	t.Helper()
	point := func(c *Config) { c.Flags.Address, c.Flags.CACert = m.url, m.ca }
	return newRig(t, &fakeVault{Server: &httptest.Server{}}, append([]func(*Config){point}, change...)...)
}

// pipes is a listener without a network, so that it can be in a synctest bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}
func (*pipes) Close() error   { return nil }
func (*pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// bubble is a model and its provider in a synctest bubble: time passes at once.
func bubble(t *testing.T, change ...func(*Config)) (*model, *rig) {
	t.Helper()
	m := makeModel(t)
	m.url = "http://vault.test"
	r := rigOf(t, m, append([]func(*Config){func(c *Config) { c.Flags.CACert = "" }}, change...)...)
	at := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	server := &http.Server{Handler: m, ReadHeaderTimeout: time.Hour}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(at)
	}()
	via, err := r.transports.get(tlsSettings{}, "")
	if err != nil {
		t.Fatal(err)
	}
	via.http.DialContext, via.http.Proxy = at.dial, nil
	t.Cleanup(func() {
		r.Close(context.Background())
		via.http.CloseIdleConnections()
		close(at.done)
		_ = server.Close()
		<-served
	})
	return m, r
}

func operationOf(r *http.Request) operation {
	switch path := strings.TrimPrefix(r.URL.Path, "/v1/"); {
	case strings.HasPrefix(path, "auth/token/lookup-self"):
		return opLookup
	case strings.HasPrefix(path, "auth/token/renew-self"):
		return opRenewToken
	case strings.HasPrefix(path, "auth/token/revoke-self"):
		return opRevokeToken
	case path == "sys/leases/renew":
		return opRenewLease
	case path == "sys/leases/revoke":
		return opRevokeLease
	case strings.HasPrefix(path, "auth/") && strings.HasSuffix(path, "/login"):
		return opLogin
	}
	return opRead
}

func (m *model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	op := operationOf(r)
	m.mu.Lock()
	m.count[string(op)]++
	if op == opRead {
		m.count[r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v1/")]++
	}
	fault, front := m.fault, m.front
	m.mu.Unlock()
	if front != nil && front(w, r) {
		return
	}
	status, text := 0, ""
	if fault != nil {
		status, text = fault(op, r)
	}
	if status == 0 {
		status, text = m.answer(op, r, body)
	}
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

func (m *model) answer(op operation, r *http.Request, body []byte) (int, string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if op == opLogin {
		return m.logIn(r, body)
	}
	t := m.tokens[r.Header.Get("X-Vault-Token")]
	switch {
	case (t == nil || !t.live(time.Now())) && m.mute:
		return refusing("permission denied")
	case t == nil || !t.live(time.Now()):
		return refusing(`2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n`)
	case m.denied[string(op)] || m.denied[r.Method+" "+strings.TrimPrefix(r.URL.Path, "/v1/")]:
		return refusing(`1 error occurred:\n\t* permission denied\n\n`)
	}
	t.left--
	status, text := m.allowed(op, t, r, body)
	t.gone = t.gone || t.left == 0
	return status, text
}

func (m *model) allowed(op operation, t *modelToken, r *http.Request, body []byte) (int, string) {
	var args map[string]any
	_ = json.Unmarshal(body, &args)
	lease := m.leases[fmt.Sprint(args["lease_id"])]
	switch op {
	case opLookup:
		return 200, `{"data":{"id":"x"}}`
	case opRenewToken:
		return m.renewToken(t, args)
	case opRevokeToken:
		m.revoke(t)
		return 204, ""
	case opRenewLease:
		return m.renewLease(lease, args)
	case opRevokeLease:
		if lease != nil {
			lease.gone = true
		}
		return 204, ""
	case opLogin, opRead:
	}
	return m.read(t, r)
}

func refusing(text string) (int, string) { return 403, `{"errors":["` + text + `"]}` }

func (m *model) revoke(t *modelToken) {
	for id, l := range m.leases {
		if l.token == t && l.live(time.Now()) && !m.untidy {
			m.t.Errorf("the token of login %d is revoked, and with it the live lease %s", t.login, id)
		}
	}
	t.gone = true
}

func (t *terms) again(made time.Time, args map[string]any) time.Duration {
	ttl := t.ttl
	if seconds, ok := args["increment"].(float64); ok && seconds > 0 {
		ttl = time.Duration(seconds) * time.Second
	}
	return min(ttl, time.Until(made.Add(t.max)))
}

func (m *model) renewToken(t *modelToken, args map[string]any) (int, string) {
	if !t.renewable {
		return 400, `{"errors":["lease is not renewable"]}`
	}
	ttl := t.again(t.made, args)
	t.expiry = time.Now().Add(ttl)
	return 200, fmt.Sprintf(`{"auth":{"client_token":"x","lease_duration":%d,"renewable":true}}`, int(ttl.Seconds()))
}

func (m *model) renewLease(l *modelLease, args map[string]any) (int, string) {
	switch {
	case l == nil || !l.live(time.Now()):
		return 400, `{"errors":["lease not found"]}`
	case !l.renewable:
		return 400, `{"errors":["lease is not renewable"]}`
	}
	ttl := l.again(l.made, args)
	l.expiry = time.Now().Add(ttl)
	return 200, fmt.Sprintf(`{"lease_id":%q,"lease_duration":%d,"renewable":true}`, args["lease_id"], int(ttl.Seconds()))
}

// logIn gives a token to whom it knows: pods whose tokens are signed "sig", and
// secrets that begin with "good".
func (m *model) logIn(r *http.Request, body []byte) (int, string) {
	var args map[string]string
	_ = json.Unmarshal(body, &args)
	mount := strings.TrimSuffix(strings.TrimPrefix(r.URL.Path, "/v1/auth/"), "/login")
	method := m.methods[mount]
	if method == "" {
		method = mount
	}
	who, metadata := "", map[string]string{"role": args["role"]}
	switch method {
	case vaultclass.Kubernetes, vaultclass.JWT:
		c := signedClaims(args["jwt"])
		if c == nil {
			return refusing("permission denied")
		}
		who = c["sub"].(string)
		if method == vaultclass.Kubernetes {
			account, _ := c["kubernetes.io"].(map[string]any)["serviceaccount"].(map[string]any)
			parts := strings.Split(who, ":")
			metadata["service_account_namespace"], metadata["service_account_name"] = parts[2], parts[3]
			metadata["service_account_uid"] = fmt.Sprint(account["uid"])
		}
	case vaultclass.AppRole:
		if !strings.HasPrefix(args["secret_id"], "good") {
			return 400, `{"errors":["invalid role or secret ID"]}`
		}
		who = args["role_id"]
	case vaultclass.Cert:
		if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
			return 400, `{"errors":["client certificate must be supplied"]}`
		}
		who = "a certificate"
	}
	m.serial++
	t := &modelToken{who: who, login: m.serial, made: time.Now(), expiry: time.Now().Add(m.login.ttl), terms: m.login, left: m.login.uses}
	value := "hvs.model-" + strconv.Itoa(m.serial)
	m.tokens[value] = t
	text, _ := json.Marshal(map[string]any{"request_id": m.id(), "auth": map[string]any{
		"client_token": value, "lease_duration": int(m.login.ttl.Seconds()), "renewable": m.login.renewable,
		"token_type": m.login.kind, "num_uses": m.login.uses, "metadata": metadata,
	}})
	return 200, string(text)
}

func signedClaims(jwt string) (c map[string]any) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 || parts[2] != "sig" {
		return nil
	}
	text, _ := base64.RawURLEncoding.DecodeString(parts[1])
	_ = json.Unmarshal(text, &c)
	return c
}

func (m *model) id() string {
	m.serial++
	return "id-" + strconv.Itoa(m.serial)
}

func (m *model) read(t *modelToken, r *http.Request) (int, string) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	reply := map[string]any{"request_id": m.id(), "lease_id": "", "lease_duration": 0, "renewable": false, "warnings": nil}
	data := map[string]any{"login": strconv.Itoa(t.login), "value": m.value}
	now := time.Now()
	switch engine, _, _ := strings.Cut(path, "/"); engine {
	case "kv": // version 1: a lease_duration without a lease
		reply["lease_duration"] = 2764800
	case "db":
		if t.left == 0 {
			return 400, `{"errors":["Secret cannot be returned; token had one use left, so leased credentials were immediately revoked."]}`
		}
		id := path + "/" + m.id()
		m.leases[id] = &modelLease{token: t, made: now, expiry: now.Add(m.lease.ttl), terms: m.lease}
		reply["lease_id"], reply["lease_duration"], reply["renewable"] = id, int(m.lease.ttl.Seconds()), m.lease.renewable
		data["username"], data["password"] = "user of "+id, "password of "+id
	case "pki":
		data["certificate"], data["serial_number"] = "certificate "+m.id(), "1"
		data["expiration"] = now.Add(m.lease.ttl).Unix()
	case "transit":
		data["ciphertext"] = m.id()
	case "wrapped":
		reply["wrap_info"] = map[string]any{"token": "hvs.wrapping-" + m.id(), "ttl": 60}
	case "token":
		reply["auth"] = map[string]any{"client_token": "hvs.child-" + m.id(), "lease_duration": 60}
	default:
		return 404, `{"errors":[]}`
	}
	reply["data"] = data
	text, _ := json.Marshal(reply)
	return 200, string(text)
}

// counted is how many requests of an operation, or of "METHOD path", there were.
func (m *model) counted(what string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.count[what]
}

// set changes the model.
func (m *model) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

// works says whether a credential is one of a live lease.
func (m *model) works(username string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.leases[strings.TrimPrefix(username, "user of ")]
	return l != nil && l.live(time.Now())
}

// podOf is a pod of a service account of namespace shop.
func podOf(account, uid string) provider.Pod {
	return provider.Pod{Name: account + "-" + uid, Namespace: "shop", UID: uid, ServiceAccount: account}
}

// ask is a request of a pod, for one volume.
func ask(pod provider.Pod, objects string, params ...string) *provider.Request {
	req := newRequest(objects, params...)
	req.Pod, req.Volume, req.Tells = pod, provider.VolumeID("csi-"+pod.UID), true
	req.Tokens = provider.Tokens{"vault": {Value: provider.Secret(tokenFor(pod, accountUID))}}
	return req
}

// files are the contents of a response by name.
func files(resp *provider.Response) map[string]string {
	got := map[string]string{}
	for _, f := range resp.Files {
		got[f.Path] = string(f.Contents)
	}
	return got
}

// must mounts, and fails the test if that fails.
func (r *rig) must(t *testing.T, req *provider.Request) map[string]string {
	t.Helper()
	return files(r.respond(t, req))
}

func (r *rig) respond(t *testing.T, req *provider.Request) *provider.Response {
	t.Helper()
	resp, err := r.Mount(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// Objects that many tests read.
const (
	oneKV   = "- {objectName: login, secretPath: kv/app, secretKey: login}\n- {objectName: value, secretPath: kv/app, secretKey: value}"
	oneCred = "- {objectName: user, secretPath: db/creds/app, secretKey: username}\n" +
		"- {objectName: password, secretPath: db/creds/app, secretKey: password}"
)

// liveLeases counts them.
func (m *model) liveLeases() (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.leases {
		if l.live(time.Now()) {
			n++
		}
	}
	return n
}

// down is a fault: Vault answers nothing but this status.
func down(status int) func(operation, *http.Request) (int, string) {
	return func(operation, *http.Request) (int, string) { return status, `{"errors":["Vault is sealed"]}` }
}
