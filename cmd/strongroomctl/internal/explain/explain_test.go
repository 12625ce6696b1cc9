package explain_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cluster"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/explain"
)

func at(minute int) metav1.Time {
	return metav1.NewTime(time.Date(2026, 1, 2, 3, minute, 0, 0, time.UTC))
}

func volume(name, class string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{
		Driver: "secrets-store.csi.k8s.io", VolumeAttributes: map[string]string{"secretProviderClass": class},
	}}}
}

// facts are of a pod with a volume that is mounted, and one that waits.
func facts() *explain.Facts {
	return &explain.Facts{
		Pod: corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u1"},
			Spec:       corev1.PodSpec{NodeName: "node-1", Volumes: []corev1.Volume{volume("db", "db"), volume("pay", "pay"), {Name: "tmp"}}},
			Status:     corev1.PodStatus{Phase: corev1.PodPending},
		},
		Drivers: []cluster.Driver{{Ours: true, Args: map[string]string{"enable-secret-rotation": "true"}}},
		Classes: map[string]v1.SecretProviderClass{"db": {
			ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "db"},
			Spec: v1.SecretProviderClassSpec{
				Provider: "vault", Rotation: &v1.Rotation{Interval: "10m"},
				SecretObjects: []*v1.SecretObject{{SecretName: " db ", Type: "Opaque"}, {SecretName: "tls", Type: "kubernetes.io/tls"}, {SecretName: "none"}},
			},
		}},
		Statuses: []v1.SecretProviderClassPodStatus{earlier(), recorded()},
		Synced: map[string]v1.SyncedSecret{
			"db":  {Spec: v1.SyncedSecretSpec{SecretProviderClassName: "db"}, Status: v1.SyncedSecretStatus{FetchTime: &metav1.MicroTime{Time: at(5).Time}, NodeName: "node-2"}},
			"tls": {Spec: v1.SyncedSecretSpec{SecretProviderClassName: "pay"}},
		},
		Events: []corev1.Event{
			{InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "web", UID: "u0"}, Reason: "FailedMount", LastTimestamp: at(9), Message: "of an earlier pod"},
			{InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "web", UID: "u1"}, Reason: "FailedMount", LastTimestamp: at(8), Message: `MountVolume.SetUp failed for volume "pay" : no class`},
			{InvolvedObject: corev1.ObjectReference{Kind: "Pod", Name: "web", UID: "u1"}, Reason: "Pulled", LastTimestamp: at(9)},
		},
	}
}

func earlier() v1.SecretProviderClassPodStatus {
	s := recorded()
	s.OwnerReferences[0].UID = "u0"
	s.Status.Objects[0].Version = "of an earlier pod"
	return s
}

func recorded() v1.SecretProviderClassPodStatus {
	written := at(4)
	return v1.SecretProviderClassPodStatus{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: "web-shop-db", CreationTimestamp: at(1), OwnerReferences: []metav1.OwnerReference{{UID: "u1"}},
			ManagedFields: []metav1.ManagedFieldsEntry{{Time: &written}},
		},
		Status: v1.SecretProviderClassPodStatusStatus{
			PodName: "web", SecretProviderClassName: "db", Mounted: true, TargetPath: "/var/lib/kubelet/pods/u1/volumes/kubernetes.io~csi/db/mount",
			Objects:    []v1.SecretProviderClassObject{{ID: "password", Version: "3"}},
			Conditions: []metav1.Condition{{Type: "Ready", Status: metav1.ConditionFalse, Reason: "StoreDenied", Message: "permission denied", LastTransitionTime: at(6)}},
		},
	}
}

func TestExplain(t *testing.T) {
	since, changed, fetched := at(6).Time, at(4).Time, at(5).Time
	const failure = `MountVolume.SetUp failed for volume "pay" : no class`
	want := explain.Report{
		Pod: "shop/web", Node: "node-1", Phase: "Pending",
		Volumes: []explain.Volume{
			{
				Name: "db", Class: "db", Provider: "vault", Mounted: true, Fresh: "False", Error: "StoreDenied: permission denied", Since: &since, Changed: &changed,
				Next:    "within 10m, which is spec.rotation.interval of the class, or earlier if the provider asks for it",
				Objects: []explain.Object{{ID: "password", Version: "3"}},
				Secrets: []explain.Secret{
					{Name: "db", Type: "Opaque", State: "filled", Fetched: &fetched, Node: "node-2"},
					{Name: "tls", Type: "kubernetes.io/tls", State: "filled by class pay, and not by this one"},
					{Name: "none", State: "not filled: the class gives it no type"},
				},
			},
			{
				Name: "pay", Class: "pay", Fresh: "Unknown", Error: failure, Objects: []explain.Object{},
				Next: "within 2m, which is --rotation-poll-interval of the driver, or earlier if the provider asks for it",
			},
		},
		Events: []explain.Event{{Time: at(8).Time, Reason: "FailedMount", Object: "pod web", Text: failure}},
	}
	got := explain.Explain(facts())
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var out bytes.Buffer
	if err := got.Print(&out, at(7).Time); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"pod shop/web, Pending, on node node-1\n", "StoreDenied: permission denied", "False, since 1m0s ago", "3m0s ago",
		"password", "filled with what was fetched 2m0s ago", "0s ago  pod web  FailedMount",
	} {
		if !strings.Contains(out.String(), text) {
			t.Errorf("%q is not in\n%s", text, &out)
		}
	}
}

// What could not be read is not said to be missing.
func TestUnseen(t *testing.T) {
	for _, tc := range []struct {
		unseen []string
		want   string
	}{
		{nil, "there is no secretproviderclass shop/pay"},
		{[]string{"secretproviderclass pay"}, ""},
		{[]string{"secretproviderclasspodstatuses"}, "whether it is mounted is not known, because pod statuses could not be read"},
	} {
		f := facts()
		f.Events, f.Unseen = nil, tc.unseen
		if got := explain.Explain(f).Volumes[1].Error; got != tc.want {
			t.Errorf("%v: %q, want %q", tc.unseen, got, tc.want)
		}
	}
}

func TestNext(t *testing.T) {
	for want, change := range map[string]func(*explain.Facts){
		"not known": func(f *explain.Facts) { f.Drivers = nil },
		"never":     func(f *explain.Facts) { f.Drivers[0].Args["enable-secret-rotation"] = "false" },
		"only when": func(f *explain.Facts) { f.Classes["db"].Spec.Rotation.Mode = v1.RotationNever },
	} {
		f := facts()
		change(f)
		if got := explain.Explain(f).Volumes[0].Next; !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
