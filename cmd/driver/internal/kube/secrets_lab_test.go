//go:build unix

package kube_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/driver/internal/kube"
	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// value is in what is stored; no error may show it.
const value = "hunter2"

// secretLab is an API server without a controller manager, and what a test does as its
// administrator.
type secretLab struct {
	api    client.Client
	config *rest.Config
}

func newSecretLab(t *testing.T) secretLab {
	t.Helper()
	config := apiServer(t)
	config.QPS = -1
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1.AddToScheme, corev1.AddToScheme, rbacv1.AddToScheme, admissionv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	l := secretLab{api: api, config: config}
	l.grant(t, "driver", rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"create", "update"}})
	l.grant(t, "halfway")
	return l
}

// grant gives a user what a driver needs but for Secrets, and some rights more.
func (l secretLab) grant(t *testing.T, user string, more ...rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: user}, Rules: append([]rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}},
		{APIGroups: []string{v1.GroupVersion.Group}, Resources: []string{"syncedsecrets"}, Verbs: []string{"get", "create", "update", "delete"}},
	}, more...)}
	l.create(t, role)
	l.create(t, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	})
}

func (l secretLab) namespace(t *testing.T, name string) {
	t.Helper()
	l.create(t, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

func (l secretLab) create(t *testing.T, object client.Object) {
	t.Helper()
	if err := l.api.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
}

func (l secretLab) remove(t *testing.T, object client.Object) {
	t.Helper()
	if err := l.api.Delete(t.Context(), object, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
}

// pod makes a pod of a controller, or one without if that is "".
func (l secretLab) pod(t *testing.T, namespace, name, controller string) provider.Pod {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	if controller != "" {
		yes := true
		pod.OwnerReferences = []metav1.OwnerReference{{
			APIVersion: "apps/v1", Kind: "ReplicaSet", Name: controller, UID: types.UID("uid-" + controller), Controller: &yes, BlockOwnerDeletion: &yes,
		}}
	}
	l.create(t, pod)
	return podOf(namespace, name, string(pod.UID))
}

func (l secretLab) secret(t *testing.T, namespace, name string) *corev1.Secret {
	t.Helper()
	var s corev1.Secret
	if err := l.api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func (l secretLab) synced(t *testing.T, namespace, name string) *v1.SyncedSecret {
	t.Helper()
	var s v1.SyncedSecret
	if err := l.api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func (l secretLab) syncedSecrets(t *testing.T, namespace string) []v1.SyncedSecret {
	t.Helper()
	var list v1.SyncedSecretList
	if err := l.api.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// cached waits until the API server's own cache has SyncedSecret s as it is, so that
// the requests of a repeat can be told.
func (l secretLab) cached(t *testing.T, namespace string) {
	t.Helper()
	want := l.synced(t, namespace, "s").ResourceVersion
	for got := ""; got != want; {
		var s v1.SyncedSecret
		err := l.api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "s"}, &s,
			&client.GetOptions{Raw: &metav1.GetOptions{ResourceVersion: "0"}})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
		got = s.ResourceVersion
	}
}

// holds fails unless a Secret has one key with this text.
func (l secretLab) holds(t *testing.T, namespace, name, text string) {
	t.Helper()
	if got := string(l.secret(t, namespace, name).Data["password"]); got != text {
		t.Errorf("secret %s/%s holds %q, want %q", namespace, name, got, text)
	}
}

// collect does what garbage collection does: owners that are gone go from lists of
// owners, and objects that have none left go as well. Gone says which owners are gone.
func (l secretLab) collect(ctx context.Context, namespace string, gone func(metav1.OwnerReference) bool) error {
	var all v1.SyncedSecretList
	if err := l.api.List(ctx, &all, client.InNamespace(namespace)); err != nil {
		return err
	}
	alive := map[types.UID]bool{}
	for i := range all.Items {
		s := &all.Items[i]
		var left []metav1.OwnerReference
		for _, owner := range s.OwnerReferences {
			if !gone(owner) {
				left = append(left, owner)
			}
		}
		var err error
		switch {
		case len(left) == 0:
			err = l.api.Delete(ctx, s)
		case len(left) < len(s.OwnerReferences):
			s.OwnerReferences = left
			err = l.api.Update(ctx, s)
		}
		if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err
		}
		alive[s.UID] = len(left) > 0
	}
	return l.collectSecrets(ctx, namespace, alive)
}

func (l secretLab) collectSecrets(ctx context.Context, namespace string, alive map[types.UID]bool) error {
	var secrets corev1.SecretList
	if err := l.api.List(ctx, &secrets, client.InNamespace(namespace)); err != nil {
		return err
	}
	for i := range secrets.Items {
		s := &secrets.Items[i]
		if len(s.OwnerReferences) == 0 || alive[s.OwnerReferences[0].UID] {
			continue
		}
		var owner v1.SyncedSecret // it may be younger than the list
		err := l.api.Get(ctx, client.ObjectKey{Namespace: namespace, Name: s.OwnerReferences[0].Name}, &owner)
		if err == nil && owner.UID == s.OwnerReferences[0].UID {
			continue
		}
		err = l.api.Delete(ctx, s, client.Preconditions{UID: &s.UID})
		if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func nothing(metav1.OwnerReference) bool { return false }

// clock is a time that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Now()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// errCut is what a driver sees that is killed, or whose network is.
var errCut = errors.New("cut")

// wire notes requests, and cuts them off when told to.
type wire struct {
	next http.RoundTripper

	mu     sync.Mutex
	asked  []string
	cutAt  int // this request and those behind it are not sent; 0 is never
	lose   int // the answer to this request is lost
	before func(*http.Request)
	shown  []string // requests whose answer had content
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.asked = append(w.asked, describe(r))
	n, before := len(w.asked), w.before
	cut, lost := w.cutAt > 0 && n >= w.cutAt, n == w.lose
	w.mu.Unlock()
	if cut {
		return nil, errCut
	}
	if before != nil {
		before(r)
	}
	response, err := w.next.RoundTrip(r)
	if err == nil && strings.HasSuffix(describe(r), " secrets") {
		w.read(response)
	}
	if lost && err == nil {
		_ = response.Body.Close()
		return nil, errCut
	}
	return response, err
}

// read notes an answer with content.
func (w *wire) read(response *http.Response) {
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil || bytes.Contains(body, []byte(value)) || bytes.Contains(body, []byte(`"data"`)) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.shown = append(w.shown, describe(response.Request))
	}
}

// describe is the verb and the kind, with ! for a dry run.
func describe(r *http.Request) string {
	parts := strings.Split(r.URL.Path, "/")
	text := r.Method
	for i, part := range parts {
		if part == "namespaces" && i+2 < len(parts) {
			text += " " + parts[i+2]
		}
	}
	if r.URL.Query().Get("dryRun") != "" {
		text += "!"
	}
	return text
}

// requests are those since the last call.
func (w *wire) requests() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	text := strings.Join(w.asked, ", ")
	w.asked = nil
	return text
}

// driver is a driver process on a node.
type driver struct {
	*kube.Secrets
	wire  *wire
	clock *clock
}

// start starts one.
func (l secretLab) start(t *testing.T, node string, c *clock) *driver {
	t.Helper()
	return l.startAs(t, "driver", node, c)
}

func (l secretLab) startAs(t *testing.T, user, node string, c *clock) *driver {
	t.Helper()
	d := &driver{wire: &wire{}, clock: c}
	config := rest.CopyConfig(l.config)
	t.Cleanup(func() {
		if len(d.wire.shown) > 0 {
			t.Errorf("the API server showed content in answer to %v", d.wire.shown)
		}
	})
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { d.wire.next = next; return d.wire })
	config.Impersonate.UserName = user
	var err error
	d.Secrets, err = kube.NewSecrets(kube.Config{API: config, Node: node, UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	d.SetClock(c.Now, 20*time.Millisecond)
	return d
}

// fill fails the test if filling fails.
func (d *driver) fill(t *testing.T, c rotation.Copy) time.Duration {
	t.Helper()
	again, err := d.Fill(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// refused wants a refusal that says something and shows nothing.
func (d *driver) refused(t *testing.T, c rotation.Copy, reason rotation.Reason, says ...string) {
	t.Helper()
	_, err := d.Fill(t.Context(), c)
	refusal, ok := errors.AsType[*rotation.Refusal](err)
	if !ok || refusal.Reason != reason {
		t.Fatalf("want a refusal for %s, got %v", reason, err)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("no %q in: %v", text, err)
		}
	}
	showsNothing(t, err)
}

func showsNothing(t *testing.T, err error) {
	t.Helper()
	if err != nil && strings.Contains(err.Error(), value) {
		t.Errorf("a value in: %v", err)
	}
}

// copyOf asks for a Secret s of one key.
func copyOf(pod provider.Pod, text string, fetched time.Time) rotation.Copy {
	return rotation.Copy{
		Pod: pod, Class: "db", Fetched: fetched,
		Object: rotation.SecretObject{
			Name: "s", Type: "Opaque", Labels: map[string]string{"app": "shop"}, Annotations: map[string]string{"note": "x"},
			Data: []rotation.SecretKey{{File: "f", Key: "password"}},
		},
		Files: []provider.File{{Path: "f", Contents: []byte(text)}},
	}
}

func repeat(c rotation.Copy) rotation.Copy {
	c.Repeat = true
	return c
}

func text(n int) string { return fmt.Sprint(value, "-", n) }
