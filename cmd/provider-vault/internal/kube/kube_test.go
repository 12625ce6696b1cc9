//go:build unix

package kube_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/cmd/provider-vault/internal/kube"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/providertest"
)

// TestAPIServer shares one API server among its parts, which change its rights and its
// Secret one after the other.
func TestAPIServer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	t.Run("no right", l.noRight)
	l.apply(t, "provider-vault/rbac.yaml")
	t.Run("a race of ten", l.race)
	t.Run("the Secret is deleted", l.deleted)
	t.Run("what is in the Secret", l.contents)
	l.apply(t, "provider-vault/policy.yaml")
	t.Run("the policy", l.policy)
	t.Run("no right to tokens", l.noTokens)
	l.apply(t, "provider-vault-token-request/rbac.yaml")
	t.Run("tokens", l.tokens)
	t.Run("the API server goes away", l.away) // the last one
}

func (l *lab) noRight(t *testing.T) {
	log := &providertest.Buffer{}
	v := l.client(t).VersionKey(keyName, logTo(log))
	v.SetFresh(0)
	for range 5 {
		if key := v.Get(t.Context()); key != nil {
			t.Fatal("a key without any right")
		}
	}
	text := log.String()
	if n := strings.Count(text, "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, text)
	}
	for _, want := range []string{"read secret kube-system/" + keyName, "is forbidden", "manifests/components/provider-vault "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
}

// Ten providers start at the same time, as on ten nodes.
func (l *lab) race(t *testing.T) {
	for round := range 5 {
		l.remove(t, ownSecret())
		keys, start := make([][]byte, 10), make(chan struct{})
		var group sync.WaitGroup
		for i := range keys {
			v := l.client(t).VersionKey(keyName, slog.New(slog.DiscardHandler))
			group.Go(func() {
				<-start
				eventually(t, "a key", func() bool { // the right may be new to the API server
					keys[i] = v.Get(t.Context())
					return keys[i] != nil
				})
			})
		}
		close(start)
		group.Wait()
		s := l.secret(t)
		for _, key := range keys {
			if !bytes.Equal(key, s.Data["key"]) || len(key) != 32 {
				t.Fatalf("round %d: a key of %d bytes differs from that of the Secret", round, len(key))
			}
		}
		if s.Immutable == nil || !*s.Immutable || s.Type != corev1.SecretTypeOpaque || len(s.Data) != 1 {
			t.Errorf("immutable %v, type %s, %d fields", s.Immutable, s.Type, len(s.Data))
		}
	}
}

func (l *lab) deleted(t *testing.T) {
	v := l.client(t).VersionKey(keyName, slog.New(slog.DiscardHandler))
	old := v.Get(t.Context())
	l.remove(t, ownSecret())
	if !bytes.Equal(v.Get(t.Context()), old) {
		t.Error("the key in memory is used for a minute")
	}
	v.SetFresh(0)
	v.Expire()
	fresh := v.Get(t.Context())
	if bytes.Equal(fresh, old) || !bytes.Equal(fresh, l.secret(t).Data["key"]) {
		t.Error("the key was not made again")
	}
}

// contents: any length will do; what cannot be used changes nothing.
func (l *lab) contents(t *testing.T) {
	log := &providertest.Buffer{}
	v := l.client(t).VersionKey(keyName, logTo(log))
	v.SetFresh(0)
	for _, tc := range []struct {
		data map[string][]byte
		want string
	}{
		{map[string][]byte{"key": []byte("k")}, "k"},
		{map[string][]byte{"key": bytes.Repeat([]byte("l"), 100)}, strings.Repeat("l", 100)},
		{map[string][]byte{"key": {}}, strings.Repeat("l", 100)},
		{map[string][]byte{"other": []byte("x")}, strings.Repeat("l", 100)},
		{map[string][]byte{"key": []byte("m")}, "m"},
	} {
		l.remove(t, ownSecret())
		s := ownSecret()
		s.Data = tc.data
		l.create(t, s)
		if got := v.Get(t.Context()); string(got) != tc.want {
			t.Errorf("%d bytes, want %d", len(got), len(tc.want))
		}
	}
	text := log.String()
	if strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "has nothing in its field key: delete it") || strings.Count(text, "level=INFO") != 1 {
		t.Error(text)
	}
	if strings.Contains(text, "lll") {
		t.Error("the key is in the log")
	}
}

// policy: with the provider's token, nothing can be created but its key.
func (l *lab) policy(t *testing.T) {
	thief := l.thief(t)
	l.remove(t, ownSecret())
	yes := true
	good := func(change func(*corev1.Secret)) *corev1.Secret {
		s := ownSecret()
		s.Immutable, s.Data = &yes, map[string][]byte{"key": []byte("k")}
		change(s)
		return s
	}
	create := func(s *corev1.Secret) error { return thief.Create(t.Context(), s, client.DryRunAll) }
	bad := good(func(s *corev1.Secret) { s.Type = corev1.SecretTypeServiceAccountToken })
	bad.Annotations = map[string]string{corev1.ServiceAccountNameKey: account}
	eventually(t, "the policy", func() bool {
		err := create(bad.DeepCopy())
		return err != nil && strings.Contains(err.Error(), "is of type Opaque")
	})
	for name, tc := range map[string]struct {
		change func(*corev1.Secret)
		want   string
	}{
		"another name":   {func(s *corev1.Secret) { s.Name = "other" }, "creates no Secret but"},
		"a made up name": {func(s *corev1.Secret) { s.Name, s.GenerateName = "", keyName }, "creates no Secret but"},
		"mutable":        {func(s *corev1.Secret) { s.Immutable = nil }, "immutable"},
		"more fields":    {func(s *corev1.Secret) { s.Data["more"] = nil }, "no other"},
		"more text":      {func(s *corev1.Secret) { s.StringData = map[string]string{"more": ""} }, "no other"},
		"another field":  {func(s *corev1.Secret) { s.Data = map[string][]byte{"token": nil} }, "no other"},
		"no field":       {func(s *corev1.Secret) { s.Data = nil }, "no other"},
		"another type":   {func(s *corev1.Secret) { s.Type = "bootstrap.kubernetes.io/token" }, "type Opaque"},
		"a finalizer":    {func(s *corev1.Secret) { s.Finalizers = []string{"a.b/c"} }, "type Opaque"},
		"another owner": {func(s *corev1.Secret) {
			s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "p", UID: "u"}}
		}, "owned by nothing"},
		"the one it makes": {func(*corev1.Secret) {}, ""},
	} {
		err := create(good(tc.change))
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if key := l.client(t).VersionKey(keyName, slog.New(slog.DiscardHandler)).Get(t.Context()); len(key) != 32 {
		t.Error("the provider cannot make its key")
	}
	var s corev1.Secret
	if err := thief.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "other"}, &s); err == nil || !strings.Contains(err.Error(), "forbidden") {
		t.Errorf("another Secret: %v", err)
	}
}

// thief has the provider's token and none of its manners.
func (l *lab) thief(t *testing.T) client.Client {
	t.Helper()
	token, err := os.ReadFile(l.cfg.TokenFile)
	if err != nil {
		t.Fatal(err)
	}
	config := *l.env.Config
	config.CertData, config.KeyData, config.BearerToken = nil, nil, string(token)
	thief, err := client.New(&config, client.Options{Scheme: l.scheme})
	if err != nil {
		t.Fatal(err)
	}
	return thief
}

// pod makes a pod of a service account of its own.
func (l *lab) pod(t *testing.T, name string) provider.Pod {
	t.Helper()
	l.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}})
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.PodSpec{ServiceAccountName: name, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	l.create(t, p)
	return provider.Pod{Namespace: "default", Name: name, ServiceAccount: name, UID: string(p.UID)}
}

func (l *lab) noTokens(t *testing.T) {
	_, err := l.client(t).RequestToken(t.Context(), l.pod(t, "denied"), "vault")
	if provider.KindOf(err) != provider.Denied {
		t.Fatalf("%v (%v)", err, provider.KindOf(err))
	}
	for _, want := range []string{"service account default/denied for pod denied", "is forbidden", "manifests/components/provider-vault-token-request", "spec.tokenRequests"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func (l *lab) tokens(t *testing.T) {
	c, pod := l.client(t), l.pod(t, "web")
	eventually(t, "the right", func() bool { _, err := c.RequestToken(t.Context(), pod, ""); return err == nil })
	for audience, want := range map[string][]string{"vault": {"vault"}, "": nil} { // nil are the API server's own
		token, err := c.RequestToken(t.Context(), pod, audience)
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(token.Expires); left < 14*time.Minute || left > 16*time.Minute {
			t.Errorf("it ends in %v", left)
		}
		if _, err := pod.CheckToken(token); err != nil {
			t.Error(err)
		}
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: string(token.Value), Audiences: want}}
		if err := l.api.Create(t.Context(), review); err != nil {
			t.Fatal(err)
		}
		user := review.Status.User
		if !review.Status.Authenticated || user.Username != "system:serviceaccount:default:web" || user.Extra["authentication.kubernetes.io/pod-uid"][0] != pod.UID {
			t.Errorf("audience %q: %+v", audience, review.Status)
		}
	}
	gone, other := pod, pod
	gone.Name, other.UID = "gone", "00000000-0000-0000-0000-000000000000"
	for name, pod := range map[string]provider.Pod{"gone": gone, "another": other} {
		if _, err := c.RequestToken(t.Context(), pod, "vault"); provider.KindOf(err) != provider.NotFound {
			t.Errorf("%s: %v (%v)", name, err, provider.KindOf(err))
		}
	}
}

// away: a key that is there outlives its API server; one that never was is nil, and
// nobody waits for it for long.
func (l *lab) away(t *testing.T) {
	log, none := &providertest.Buffer{}, &providertest.Buffer{}
	v := l.client(t).VersionKey(keyName, logTo(log))
	key := v.Get(t.Context())
	if key == nil {
		t.Fatal("no key")
	}
	if err := l.env.ControlPlane.APIServer.Stop(); err != nil {
		t.Fatal(err)
	}
	v.SetFresh(0)
	v.Expire()
	for range 5 {
		if got := v.Get(t.Context()); !bytes.Equal(got, key) {
			t.Fatal("the key changed")
		}
	}
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "the one in memory stays") {
		t.Error(text)
	}
	never := l.client(t).VersionKey(keyName, logTo(none))
	for range 3 {
		if never.Get(t.Context()) != nil {
			t.Error("a key out of nothing")
		}
	}
	if text := none.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "versions are empty") {
		t.Error(text)
	}
	_, err := l.client(t).RequestToken(t.Context(), provider.Pod{Namespace: "a", Name: "b", UID: "c", ServiceAccount: "d"}, "")
	if provider.KindOf(err) != provider.Unavailable {
		t.Errorf("%v (%v)", err, provider.KindOf(err))
	}
}

// While one reads the key again, all others have the old one at once.
func TestReadersDoNotWait(t *testing.T) {
	t.Parallel()
	asked, release := make(chan struct{}, 10), make(chan struct{})
	var calls atomic.Int32
	cfg := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) > 1 {
			asked <- struct{}{}
			<-release
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"data": map[string]any{"key": []byte("k")}})
	})
	c, err := kube.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	v := c.VersionKey(keyName, slog.New(slog.DiscardHandler))
	if string(v.Get(t.Context())) != "k" {
		t.Fatal("no key")
	}
	v.Expire()
	var reader sync.WaitGroup
	reader.Go(func() { v.Get(t.Context()) })
	<-asked
	for range 100 {
		if string(v.Get(t.Context())) != "k" {
			t.Error("no key")
		}
	}
	if len(asked) > 0 {
		t.Error("two read at the same time")
	}
	close(release)
	reader.Wait()
}

// One that never gets an answer costs a mount some seconds, and no more than its own
// deadline.
func TestFirstReadIsBounded(t *testing.T) {
	t.Parallel()
	cfg := answering(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	c, err := kube.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	log := &providertest.Buffer{}
	v, start := c.VersionKey(keyName, logTo(log)), time.Now()
	if v.Get(ctx) != nil || time.Since(start) > 2*time.Second {
		t.Errorf("after %v", time.Since(start))
	}
	if v.Get(t.Context()) != nil || time.Since(start) > 10*time.Second {
		t.Errorf("after %v", time.Since(start))
	}
	if !strings.Contains(log.String(), "did not answer in time") {
		t.Error(log.String())
	}
}

// answering is an API server that answers as told.
func answering(t *testing.T, answer http.HandlerFunc) kube.Config {
	t.Helper()
	s := httptest.NewTLSServer(answer)
	t.Cleanup(s.Close)
	dir := t.TempDir()
	cfg := kube.Config{Server: s.URL, TokenFile: filepath.Join(dir, "token"), CAFile: filepath.Join(dir, "ca.crt"), Namespace: namespace}
	for path, text := range map[string][]byte{cfg.TokenFile: []byte("t0ken"), cfg.CAFile: certificate(s)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

func TestTokenErrors(t *testing.T) {
	t.Parallel()
	pod := provider.Pod{Namespace: "shop", Name: "web", UID: "u", ServiceAccount: "web"}
	for name, tc := range map[string]struct {
		code int
		body string
		kind provider.Kind
		says string
	}{
		"forbidden":    {403, `{"message":"no"}`, provider.Denied, "provider-vault-token-request"},
		"unauthorized": {401, `{"message":"Unauthorized"}`, provider.Denied, "the provider's own token"},
		"not found":    {404, `{"message":"pods \"web\" not found"}`, provider.NotFound, "gone"},
		"conflict":     {409, `{"message":"uid"}`, provider.NotFound, "is another by now"},
		"bad":          {400, `{"message":"bad audience"}`, provider.Invalid, "bad audience"},
		"throttled":    {429, `slow`, provider.Throttled, "429"},
		"down":         {503, ``, provider.Unavailable, "503"},
		"long":         {500, `{"message":"` + strings.Repeat("x", 5000) + `"}`, provider.Unavailable, "xxx..."},
		"no token":     {201, `{}`, provider.Unavailable, "without a token"},
		"no JSON":      {201, `t0ken-in-plain`, provider.Unavailable, "not the JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := answering(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "7")
				w.WriteHeader(tc.code)
				_, _ = w.Write([]byte(tc.body))
			})
			c, err := kube.New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.RequestToken(t.Context(), pod, "vault")
			if err == nil || provider.KindOf(err) != tc.kind || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "service account shop/web") {
				t.Fatalf("%v (%v)", err, provider.KindOf(err))
			}
			if strings.Contains(err.Error(), "t0ken") || len(err.Error()) > 1000 {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestUnknownPods(t *testing.T) {
	t.Parallel()
	cfg := answering(t, func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	c, err := kube.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	good := provider.Pod{Namespace: "shop", Name: "web", UID: "u", ServiceAccount: "web"}
	for name, change := range map[string]func(*provider.Pod){
		"nothing":    func(p *provider.Pod) { *p = provider.Pod{} },
		"no UID":     func(p *provider.Pod) { p.UID = "" },
		"no account": func(p *provider.Pod) { p.ServiceAccount = "" },
		"climbing":   func(p *provider.Pod) { p.Namespace = ".." },
		"a path":     func(p *provider.Pod) { p.ServiceAccount = "a/b" },
		"a query":    func(p *provider.Pod) { p.ServiceAccount = "a?b" },
	} {
		pod := good
		change(&pod)
		if _, err := c.RequestToken(t.Context(), pod, ""); provider.KindOf(err) != provider.Invalid || !strings.Contains(err.Error(), "podInfoOnMount") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestConfigs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for file, text := range map[string]string{"token": "t", "namespace": "vault\n"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	in := map[string]string{"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
	for name, tc := range map[string]struct {
		env  map[string]string
		dir  string
		want string
		err  string
	}{
		"outside":            {dir: dir, err: "KUBERNETES_SERVICE_HOST"},
		"no namespace":       {env: in, dir: t.TempDir(), err: "POD_NAMESPACE is not set"},
		"namespace by file":  {env: in, dir: dir, want: "vault"},
		"namespace by order": {env: with(in, "POD_NAMESPACE", "csi"), dir: dir, want: "csi"},
	} {
		cfg, err := kube.InClusterAt(func(name string) string { return tc.env[name] }, tc.dir)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || cfg.Namespace != tc.want || cfg.Server != "https://"+net.JoinHostPort("fd00::1", "443") {
			t.Errorf("%s: %+v, %v", name, cfg, err)
		}
	}
	for name, cfg := range map[string]kube.Config{
		"no address":   {Namespace: "a", TokenFile: filepath.Join(dir, "token"), CAFile: "x"},
		"no namespace": {Server: "https://a", TokenFile: filepath.Join(dir, "token"), CAFile: "x"},
		"no files":     {Server: "https://a", Namespace: "a"},
		"no CA":        {Server: "https://a", Namespace: "a", TokenFile: filepath.Join(dir, "token"), CAFile: filepath.Join(dir, "none")},
	} {
		if _, err := kube.New(cfg); err == nil {
			t.Errorf("%s passed", name)
		}
	}
}

func with(env map[string]string, name, value string) map[string]string {
	more := maps.Clone(env)
	more[name] = value
	return more
}
