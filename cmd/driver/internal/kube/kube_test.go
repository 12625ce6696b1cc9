//go:build unix

package kube_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/driver/internal/kube"
	"github.com/strongroom/strongroom/internal/groundbin"
	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// apiServer starts a real API server with the CRDs.
func apiServer(t *testing.T) *rest.Config {
	t.Helper()
	env := &envtest.Environment{
		BinaryAssetsDirectory: groundbin.Folder(t),
		CRDDirectoryPaths:     []string{"../../../../manifests/base/crds"},
		ErrorIfCRDPathMissing: true,
		// A busy machine may take more than the 20 s that are the default.
		ControlPlaneStartTimeout: 2 * time.Minute,
		CRDInstallOptions:        envtest.CRDInstallOptions{MaxTime: 2 * time.Minute},
	}
	config, err := env.Start()
	t.Cleanup(func() {
		if err = env.Stop(); err != nil {
			t.Errorf("stop the API server: %v", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func newCluster(t *testing.T, config *rest.Config, node string) *kube.Cluster {
	t.Helper()
	c, err := kube.New(kube.Config{API: config, Node: node, DriverName: "secrets-store.csi.k8s.io", UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestCluster shares one API server among its parts.
func TestCluster(t *testing.T) {
	t.Parallel()
	config := apiServer(t)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1.AddToScheme, corev1.AddToScheme, storagev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	l := lab{api: api, config: config, cluster: newCluster(t, config, "node-1")}
	t.Run("classes", l.classes)
	t.Run("a record", l.record)
	t.Run("two volumes of one class", l.twoVolumes)
	t.Run("names that read the same", l.ambiguous)
	t.Run("an earlier pod's record", l.earlier)
	t.Run("long names", l.long)
	t.Run("warnings", l.warn)
	t.Run("the CSIDriver object", l.csiDriver)
	t.Run("changes of classes", l.watch)
}

type lab struct {
	api     client.Client
	config  *rest.Config
	cluster *kube.Cluster
}

func (l lab) namespace(t *testing.T, name string) {
	t.Helper()
	err := l.api.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
}

func (l lab) get(t *testing.T, namespace, name string) *v1.SecretProviderClassPodStatus {
	t.Helper()
	var s v1.SecretProviderClassPodStatus
	if err := l.api.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func (l lab) count(t *testing.T, namespace string) int {
	t.Helper()
	var list v1.SecretProviderClassPodStatusList
	if err := l.api.List(t.Context(), &list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	return len(list.Items)
}

func (l lab) mustRecord(t *testing.T, s rotation.Snapshot) {
	t.Helper()
	if err := l.cluster.Record(t.Context(), s); err != nil {
		t.Fatal(err)
	}
}

func snapshot(pod provider.Pod, class, volume string, versions ...provider.Version) rotation.Snapshot {
	return rotation.Snapshot{
		Volume: provider.VolumeID("csi-" + pod.UID + volume), Pod: pod, Class: class, Versions: versions,
		Target: fmt.Sprintf("/var/lib/kubelet/pods/%s/volumes/kubernetes.io~csi/%s/mount", pod.UID, volume),
	}
}

func podOf(namespace, name, uid string) provider.Pod {
	return provider.Pod{Namespace: namespace, Name: name, UID: uid}
}

func (l lab) classes(t *testing.T) {
	l.namespace(t, "classes")
	_, err := l.cluster.Class(t.Context(), "classes", "db")
	if provider.KindOf(err) != provider.NotFound || !strings.Contains(err.Error(), "not found") {
		t.Errorf("a missing class: %v", err)
	}
	made := &v1.SecretProviderClass{
		ObjectMeta: metav1.ObjectMeta{Namespace: "classes", Name: "db"},
		Spec:       v1.SecretProviderClassSpec{Provider: "vault", Parameters: map[string]string{"a": "b"}},
	}
	if err = l.api.Create(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	got, err := l.cluster.Class(t.Context(), "classes", "db")
	want := rotation.Class{UID: string(made.UID), Generation: 1, Provider: "vault", Parameters: map[string]string{"a": "b"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if err = l.cluster.Reachable(t.Context()); err != nil {
		t.Errorf("reachable: %v", err)
	}
	away := rest.CopyConfig(l.config)
	away.Host = "https://127.0.0.1:1"
	if err = newCluster(t, away, "n").Reachable(t.Context()); err == nil {
		t.Error("an API server that is away is reachable")
	}
	_, err = newCluster(t, away, "n").Class(t.Context(), "classes", "db")
	if provider.KindOf(err) != provider.Unavailable {
		t.Errorf("API server away: %v (%v)", err, provider.KindOf(err))
	}
}

func (l lab) record(t *testing.T) {
	l.namespace(t, "shop")
	s := snapshot(podOf("shop", "web-0", "u1"), "db", "v", provider.Version{ID: "a", Version: "1"}, provider.Version{ID: "b", Version: "2"})
	l.mustRecord(t, s)
	got := l.get(t, "shop", "web-0-shop-db")
	want := v1.SecretProviderClassPodStatusStatus{
		PodName: "web-0", SecretProviderClassName: "db", Mounted: true, TargetPath: s.Target,
		Objects: []v1.SecretProviderClassObject{{ID: "a", Version: "1"}, {ID: "b", Version: "2"}},
	}
	if diff := cmp.Diff(want, got.Status); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	owners := []metav1.OwnerReference{{APIVersion: "v1", Kind: "Pod", Name: "web-0", UID: "u1"}}
	if diff := cmp.Diff(owners, got.OwnerReferences); diff != "" {
		t.Errorf("owners (-want +got):\n%s", diff)
	}
	if got.Labels["internal.secrets-store.csi.k8s.io/node-name"] != "node-1" {
		t.Errorf("labels %v", got.Labels)
	}
	l.mustRecord(t, s)
	if again := l.get(t, "shop", "web-0-shop-db"); again.ResourceVersion != got.ResourceVersion {
		t.Error("an equal record was written again")
	}
	got.Labels = map[string]string{"mine": "x"} // an editor took our label away
	if err := l.api.Update(t.Context(), got); err != nil {
		t.Fatal(err)
	}
	s.Versions[0].Version = "9"
	l.mustRecord(t, s)
	healed := l.get(t, "shop", "web-0-shop-db")
	if healed.Status.Objects[0].Version != "9" || healed.Labels["mine"] != "x" ||
		healed.Labels["internal.secrets-store.csi.k8s.io/node-name"] != "node-1" {
		t.Errorf("%v %v", healed.Labels, healed.Status)
	}
}

func (l lab) twoVolumes(t *testing.T) {
	l.namespace(t, "two")
	one, other := snapshot(podOf("two", "p", "u"), "c", "one"), snapshot(podOf("two", "p", "u"), "c", "other")
	for range 2 {
		l.mustRecord(t, one)
		l.mustRecord(t, other)
	}
	if n := l.count(t, "two"); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
	if got := l.get(t, "two", "p-two-c").Status.TargetPath; got != one.Target {
		t.Errorf("target %s", got)
	}
}

// Pod a of class b-ns-c and pod a-ns-b of class c, both in namespace ns.
func (l lab) ambiguous(t *testing.T) {
	l.namespace(t, "ns")
	for range 2 {
		l.mustRecord(t, snapshot(podOf("ns", "a", "u1"), "b-ns-c", "v"))
		l.mustRecord(t, snapshot(podOf("ns", "a-ns-b", "u2"), "c", "v"))
	}
	if n := l.count(t, "ns"); n != 2 {
		t.Errorf("%d records, want 2", n)
	}
	if got := l.get(t, "ns", "a-ns-b-ns-c").Status.PodName; got != "a" {
		t.Errorf("pod %s", got)
	}
}

// The record of a former pod of the same name is not taken: it goes with its owner.
func (l lab) earlier(t *testing.T) {
	l.namespace(t, "old")
	l.mustRecord(t, snapshot(podOf("old", "p-0", "u1"), "c", "v"))
	err := l.cluster.Record(t.Context(), snapshot(podOf("old", "p-0", "u2"), "c", "v"))
	if provider.KindOf(err) != provider.Busy {
		t.Fatalf("%v", err)
	}
	found := l.get(t, "old", "p-0-old-c")
	if found.OwnerReferences[0].UID != types.UID("u1") {
		t.Error("the earlier pod's record was changed")
	}
	if err := l.api.Delete(t.Context(), found); err != nil {
		t.Fatal(err)
	}
	l.mustRecord(t, snapshot(podOf("old", "p-0", "u2"), "c", "v"))
}

func (l lab) long(t *testing.T) {
	l.namespace(t, "long")
	class := strings.Repeat("c", 30) + "." + strings.Repeat("c", 169) // cut right behind the dot
	l.cluster = newCluster(t, l.config, strings.Repeat("n", 100)+".example")
	for _, volume := range []string{"v", "w", "v"} {
		l.mustRecord(t, snapshot(podOf("long", strings.Repeat("p", 200), "u"), class, volume))
	}
	var list v1.SecretProviderClassPodStatusList
	if err := l.api.List(context.Background(), &list, client.InNamespace("long")); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 2 {
		t.Errorf("%d records, want 2", len(list.Items))
	}
	for _, s := range list.Items {
		label := s.Labels["internal.secrets-store.csi.k8s.io/node-name"]
		if len(label) != 32 || s.Annotations["internal.secrets-store.csi.k8s.io/node-name"] != strings.Repeat("n", 100)+".example" {
			t.Errorf("label %q, annotations %v", label, s.Annotations)
		}
	}
}

func (l lab) csiDriver(t *testing.T) {
	if _, err := l.cluster.TokensInContext(t.Context()); err == nil {
		t.Error("no error without the object")
	}
	requests := []storagev1.TokenRequest{{Audience: "vault"}}
	yes, no := true, false
	object := &storagev1.CSIDriver{
		ObjectMeta: metav1.ObjectMeta{Name: "secrets-store.csi.k8s.io"},
		Spec: storagev1.CSIDriverSpec{
			AttachRequired: &no, PodInfoOnMount: &yes, VolumeLifecycleModes: []storagev1.VolumeLifecycleMode{storagev1.VolumeLifecycleEphemeral},
		},
	}
	if err := l.api.Create(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		requests                  []storagev1.TokenRequest
		inSecrets, republish, has bool
	}{
		{nil, false, false, false}, {requests, false, true, true}, {requests, true, true, false},
	} {
		object.Spec.TokenRequests, object.Spec.RequiresRepublish = step.requests, &step.republish
		if object.Spec.ServiceAccountTokenInSecrets = nil; step.requests != nil {
			object.Spec.ServiceAccountTokenInSecrets = &step.inSecrets
		}
		if err := l.api.Update(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		c := newCluster(t, l.config, "n")
		given, giveUp := context.WithCancel(t.Context())
		giveUp()
		for range 10 { // who gives up leaves no answer to others
			if _, err := c.TokensInContext(given); err == nil {
				t.Error("an answer to somebody who gave up")
			}
		}
		if has, err := c.TokensInContext(t.Context()); err != nil || has != step.has {
			t.Errorf("%+v: %v, %v", step, has, err)
		}
		if err := c.Republishes(t.Context()); (err == nil) != step.republish {
			t.Errorf("%+v: %v", step, err)
		}
	}
}

// heard notes what a watch tells.
type heard struct {
	mu    sync.Mutex
	used  []rotation.ClassName
	heard []string
}

func (h *heard) Classes() []rotation.ClassName { return h.used }

func (h *heard) ClassChanged(name rotation.ClassName, t rotation.Told) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.heard = append(h.heard, fmt.Sprintf("%s/%s %v %d", name.Namespace, name.Name, t.UID != "", t.Generation))
}

func (h *heard) last() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.heard) == 0 {
		return ""
	}
	return h.heard[len(h.heard)-1]
}

func watched(name string) *v1.SecretProviderClass {
	return &v1.SecretProviderClass{
		ObjectMeta: metav1.ObjectMeta{Namespace: "watch", Name: name},
		Spec:       v1.SecretProviderClassSpec{Provider: "p", Parameters: map[string]string{"k": "v"}},
	}
}

func (l lab) watch(t *testing.T) {
	l.namespace(t, "watch")
	old := watched("old")
	if err := l.api.Create(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	h := &heard{}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.cluster.Watch(ctx, h, slog.New(slog.DiscardHandler)) }()
	class := watched("c")
	for n := 0; h.last() == ""; n++ { // until the watch has begun
		probe := watched(fmt.Sprint("probe-", n))
		if err := l.api.Create(t.Context(), probe); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, step := range []struct {
		do   func() error
		want string
	}{
		{func() error { return l.api.Create(t.Context(), class) }, "watch/c true 1"},
		{func() error { class.Spec.Provider = "x"; return l.api.Update(t.Context(), class) }, "watch/c true 2"},
		{func() error { return l.api.Delete(t.Context(), class) }, "watch/c false 0"},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); h.last() != step.want; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("heard %q, want %q", h.last(), step.want)
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if slices.ContainsFunc(h.heard, func(s string) bool { return strings.Contains(s, "watch/old") }) {
		t.Error("a class that did not change was told: the watch began with a list")
	}
}

func (l lab) warn(t *testing.T) {
	l.namespace(t, "warn")
	pod := podOf("warn", strings.Repeat("p", 250), "u")
	for range 2 {
		if err := l.cluster.Tell(t.Context(), rotation.Notice{Pod: pod, Reason: rotation.OverrideRefused, Text: strings.Repeat("x", 2000)}); err != nil {
			t.Fatal(err)
		}
	}
	var events corev1.EventList
	if err := l.api.List(t.Context(), &events, client.InNamespace("warn")); err != nil {
		t.Fatal(err)
	}
	if len(events.Items) != 2 || events.Items[0].InvolvedObject.UID != "u" || events.Items[0].Reason != "OverrideRefused" {
		t.Errorf("%+v", events.Items)
	}
}
