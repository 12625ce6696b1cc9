//go:build attack

package attack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	v1 "github.com/strongroom/strongroom/api/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// TestEveryCallOfASecret kills the driver at the entry and at the exit of every system
// call from the moment at which a volume has its content until the Secret that its class
// asks for has it, too.
func TestEveryCallOfASecret(t *testing.T) {
	t.Parallel()
	g, err := the()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []window{
		{"first Secret", syncing, finish, oneOfBoth, resumed, mounting(), 0},
		{"changed Secret", syncedAndAsleep, finish, oneOfBoth, resumed, swapping(), 20},
	} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			w.attack(t, newLane(t, g, way{flags: rotating()}))
		})
	}
}

func syncing(t *testing.T, l *lane) stand.Volume {
	t.Helper()
	l.holds(t, first())
	v := l.synced(t)
	prepare(t, l, v)
	return v
}

func syncedAndAsleep(t *testing.T, l *lane) stand.Volume {
	t.Helper()
	return l.asleep(t, l.synced(t))
}

// synced is a volume of a pod that exists, with a class of its own and a Secret of the
// class's name.
func (l *lane) synced(t *testing.T) stand.Volume {
	t.Helper()
	v := l.volume()
	v.Class = v.Pod
	key := client.ObjectKey{Namespace: namespace, Name: v.Class}
	if err := l.cluster.Class(t.Context(), key, stand.ScriptedName, "foo", "fookey", "conf/app.yaml"); err != nil {
		t.Fatal(err)
	}
	class := &v1.SecretProviderClass{}
	if err := l.cluster.API.Get(t.Context(), key, class); err != nil {
		t.Fatal(err)
	}
	class.Spec.SecretObjects = []*v1.SecretObject{{
		SecretName: v.Class, Type: "Opaque", Data: []*v1.SecretObjectData{{ObjectName: "foo", Key: "foo"}},
	}}
	if err := l.cluster.API.Update(t.Context(), class); err != nil {
		t.Fatal(err)
	}
	pod := podOf(v)
	pod.Spec.Containers = []corev1.Container{{Name: "main", Image: "none"}}
	if err := l.cluster.API.Create(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	v.PodUID = string(pod.UID)
	return v
}

func podOf(v stand.Volume) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: v.Namespace, Name: v.Pod}}
}

// bury removes the pod of a volume that has one. What it leaves is garbage collection's.
func (l *lane) bury(t *testing.T, v stand.Volume) {
	t.Helper()
	if v.PodUID == "" {
		return
	}
	if err := l.cluster.API.Delete(t.Context(), podOf(v), client.GracePeriodSeconds(0)); err != nil {
		t.Error(err)
	}
}

// secret returns a volume's Secret and what claims it; nil for what is not there.
func (l *lane) secret(ctx context.Context, v stand.Volume) (*corev1.Secret, *v1.SyncedSecret, error) {
	key := client.ObjectKey{Namespace: v.Namespace, Name: v.Class}
	secret, synced := &corev1.Secret{}, &v1.SyncedSecret{}
	err := l.cluster.API.Get(ctx, key, secret)
	if apierrors.IsNotFound(err) {
		secret, err = nil, nil
	}
	noted := l.cluster.API.Get(ctx, key, synced)
	if apierrors.IsNotFound(noted) {
		synced, noted = nil, nil
	}
	return secret, synced, errors.Join(err, noted)
}

// isSynced is an error unless a Secret has a content, and what claims it says so.
func (l *lane) isSynced(ctx context.Context, v stand.Volume, c content) error {
	secret, synced, err := l.secret(ctx, v)
	switch {
	case err != nil:
		return err
	case secret == nil || synced == nil:
		return fmt.Errorf("there is a Secret: %v, a SyncedSecret: %v", secret != nil, synced != nil)
	case string(secret.Data["foo"]) != c.files["foo"]:
		return fmt.Errorf("the Secret has %q, want %q", secret.Data["foo"], c.files["foo"])
	case synced.Status.SecretUID != string(secret.UID) || synced.Status.SecretResourceVersion != secret.ResourceVersion:
		return fmt.Errorf("the SyncedSecret notes %+v, the Secret has UID %s and version %s", synced.Status, secret.UID, secret.ResourceVersion)
	}
	return nil
}

// isClaimed checks that a Secret, if there is one, is whole, claimed and owned.
func (l *lane) isClaimed(t *testing.T, v stand.Volume) {
	t.Helper()
	secret, synced, err := l.secret(t.Context(), v)
	switch {
	case err != nil:
		t.Fatal(err)
	case secret == nil:
		return
	case synced == nil:
		t.Error("there is a Secret that nobody claimed: nothing will ever remove it")
		return
	}
	if err := belongs(v, secret, synced); err != nil {
		t.Error(err)
	}
	foo := string(secret.Data["foo"])
	if len(secret.Data) != 1 || foo != first().files["foo"] && foo != second().files["foo"] {
		t.Errorf("the Secret has %d keys, and in foo %q", len(secret.Data), foo)
	}
}

// belongs is an error unless a Secret goes when a volume's pod does.
func belongs(v stand.Volume, secret *corev1.Secret, synced *v1.SyncedSecret) error {
	owns := func(uid string) func(metav1.OwnerReference) bool {
		return func(o metav1.OwnerReference) bool { return o.UID == types.UID(uid) }
	}
	switch {
	case synced.Spec.SecretProviderClassName != v.Class:
		return fmt.Errorf("the Secret is claimed by class %s", synced.Spec.SecretProviderClassName)
	case !slices.ContainsFunc(synced.OwnerReferences, owns(v.PodUID)):
		return fmt.Errorf("the SyncedSecret is owned by %v, and not by the pod", synced.OwnerReferences)
	case len(secret.OwnerReferences) != 1 || !owns(string(synced.UID))(secret.OwnerReferences[0]):
		return fmt.Errorf("the Secret is owned by %v, and not by its SyncedSecret alone", secret.OwnerReferences)
	case synced.Status.SecretUID != "" && synced.Status.SecretUID != string(secret.UID):
		return fmt.Errorf("the SyncedSecret notes another Secret: %s", synced.Status.SecretUID)
	}
	return nil
}
