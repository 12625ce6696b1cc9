//go:build unix

package kube_test

import (
	"bufio"
	"bytes"
	"encoding/pem"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/strongroom/strongroom/cmd/provider-vault/internal/kube"
	"github.com/strongroom/strongroom/internal/groundbin"
)

const (
	namespace = "kube-system"
	account   = "vault-csi-provider"
	keyName   = "vault-csi-provider-hmac-key"
)

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

// lab is an API server, what its administrator does, and the credentials of a pod of
// the provider.
type lab struct {
	env    *envtest.Environment
	api    client.Client
	scheme *runtime.Scheme
	cfg    kube.Config
}

// newLab starts a real API server. Its binaries are those that test/cluster builds.
func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{env: &envtest.Environment{BinaryAssetsDirectory: groundbin.Folder(t), ControlPlaneStartTimeout: 2 * time.Minute}, scheme: runtime.NewScheme()}
	config, err := l.env.Start()
	t.Cleanup(func() {
		if err = l.env.Stop(); err != nil {
			t.Errorf("stop the API server: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, add := range []func(*runtime.Scheme) error{
		corev1.AddToScheme, rbacv1.AddToScheme, admissionv1.AddToScheme, authenticationv1.AddToScheme,
	} {
		if err = add(l.scheme); err != nil {
			t.Fatal(err)
		}
	}
	if l.api, err = client.New(config, client.Options{Scheme: l.scheme}); err != nil {
		t.Fatal(err)
	}
	l.create(t, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account}})
	l.cfg = l.credentials(t, config, account)
	return l
}

// credentials writes what Kubernetes writes into a pod of a service account.
func (l *lab) credentials(t *testing.T, config *rest.Config, name string) kube.Config {
	t.Helper()
	dir, request := t.TempDir(), &authenticationv1.TokenRequest{}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	if err := l.api.SubResource("token").Create(t.Context(), sa, request); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"token": request.Status.Token, "ca.crt": string(config.CAData), "namespace": namespace} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := strings.Cut(strings.TrimPrefix(config.Host, "https://"), ":")
	env := map[string]string{"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
	cfg, err := kube.InClusterAt(func(name string) string { return env[name] }, dir)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func (l *lab) create(t *testing.T, o client.Object) {
	t.Helper()
	if err := l.api.Create(t.Context(), o); err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

func (l *lab) remove(t *testing.T, o client.Object) {
	t.Helper()
	if err := client.IgnoreNotFound(l.api.Delete(t.Context(), o)); err != nil {
		t.Fatal(err)
	}
}

// apply creates what a file of the manifests holds, but for the kinds to leave out.
func (l *lab) apply(t *testing.T, file string, without ...string) {
	t.Helper()
	for _, o := range l.objects(t, file) {
		if !slices.Contains(without, o.GetObjectKind().GroupVersionKind().Kind) {
			l.create(t, o)
		}
	}
}

func (l *lab) objects(t *testing.T, file string) (all []client.Object) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../../manifests/components", file))
	if err != nil {
		t.Fatal(err)
	}
	decoder := serializer.NewCodecFactory(l.scheme).UniversalDeserializer()
	for docs := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text))); ; {
		doc, err := docs.Read()
		if err == io.EOF { //nolint:errorlint // as it says
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		o, _, err := decoder.Decode(doc, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, o.(client.Object)) //nolint:forcetypeassert // all of ours are
	}
}

func (l *lab) client(t *testing.T) *kube.Client {
	t.Helper()
	c, err := kube.New(l.cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (l *lab) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	if err := l.api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: keyName}, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func ownSecret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: keyName}}
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if check() {
			return
		}
	}
	t.Fatalf("not in a minute: %s", what)
}

// certificate is that of a server of httptest, which signs itself.
func certificate(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}
