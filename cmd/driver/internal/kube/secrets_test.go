//go:build unix

package kube_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/strongroom/strongroom/api/v1"
)

// TestSecrets shares one API server among its parts.
func TestSecrets(t *testing.T) {
	t.Parallel()
	l := newSecretLab(t)
	t.Run("parts", func(t *testing.T) {
		for name, part := range l.parts() {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				part(t)
			})
		}
	})
	stacks := make([]byte, 1<<20)
	if text := string(stacks[:runtime.Stack(stacks, true)]); strings.Contains(text, "kube.(*Secrets)") || strings.Contains(text, "kube.(*fill)") {
		t.Errorf("something goes on:\n%s", text)
	}
}

func (l secretLab) parts() map[string]func(*testing.T) {
	return map[string]func(*testing.T){
		"fill": l.fill, "requests": l.requests, "owners": l.owners, "gone pods": l.gonePods, "two classes": l.twoClasses,
		"foreign": l.foreign, "healed": l.healed, "dropped key": l.droppedKey, "another type": l.anotherType,
		"invalid": l.invalid, "diverging": l.diverging, "behind": l.behindNode, "late": l.late, "killed": l.killed, "cut": l.cutOff,
		"no rights": l.noRights, "policy": l.policy, "many owners": l.manyOwners, "cron job": l.cronJob, "side by side": l.sideBySide, "patience": l.patience,
		"hashes": l.hashes, "late key": l.lateKey,
	}
}

// What is made.
func (l secretLab) fill(t *testing.T) {
	l.namespace(t, "fill")
	time0 := newClock()
	d := l.start(t, "node-1", time0)
	fetched := time0.Now()
	again := d.fill(t, copyOf(l.pod(t, "fill", "web-1", "web"), text(1), fetched))
	if again < 4*time.Minute || again > 5*time.Minute {
		t.Errorf("again in %v", again)
	}
	synced, secret := l.synced(t, "fill", "s"), l.secret(t, "fill", "s")
	noTimes := cmpopts.IgnoreFields(metav1.ObjectMeta{}, "UID", "ResourceVersion", "CreationTimestamp", "ManagedFields", "Generation")
	want := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "fill", Name: "s",
			Labels:          map[string]string{"app": "shop", "secrets-store.csi.k8s.io/managed": "true"},
			Annotations:     map[string]string{"note": "x"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "secrets-store.csi.x-k8s.io/v1", Kind: "SyncedSecret", Name: "s", UID: synced.UID}},
		},
		Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"password": []byte(text(1))},
	}
	if diff := cmp.Diff(want, secret, noTimes); diff != "" {
		t.Errorf("secret (-want +got):\n%s", diff)
	}
	wantSynced := &v1.SyncedSecret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "fill", Name: "s",
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "uid-web"}},
		},
		Spec: v1.SyncedSecretSpec{SecretProviderClassName: "db"},
		Status: v1.SyncedSecretStatus{
			SecretUID: string(secret.UID), SecretResourceVersion: secret.ResourceVersion, NodeName: "node-1",
			FetchTime: &metav1.MicroTime{Time: fetched.Truncate(time.Microsecond)},
		},
	}
	if diff := cmp.Diff(wantSynced, synced, noTimes); diff != "" {
		t.Errorf("syncedsecret (-want +got):\n%s", diff)
	}
}

// What each call asks of the API server.
func (l secretLab) requests(t *testing.T) {
	l.namespace(t, "requests")
	time0 := newClock()
	fetched := time0.Now()
	d := l.start(t, "node-1", time0)
	one, two, bare := l.pod(t, "requests", "web-1", "web"), l.pod(t, "requests", "web-2", "web"), l.pod(t, "requests", "bare", "")
	for _, step := range []struct {
		name string
		do   func()
		want string
	}{
		{"first", func() { d.fill(t, copyOf(one, text(1), fetched)) }, "GET pods, GET syncedsecrets, POST syncedsecrets, POST secrets, PUT syncedsecrets"},
		{"a second pod", func() { d.fill(t, copyOf(two, text(1), fetched)) }, "GET pods"},
		{"the same again", func() { d.fill(t, copyOf(two, text(1), fetched)) }, ""},
		{"a moment later", func() { time0.add(11 * time.Second); d.fill(t, copyOf(two, text(1), fetched)) }, "PUT secrets"},
		{"another owner", func() { d.fill(t, copyOf(bare, text(1), fetched)) }, "GET pods, PUT syncedsecrets"},
		{"a repeat", func() { time0.add(5 * time.Minute); d.fill(t, repeat(copyOf(one, text(1), fetched))) }, "GET syncedsecrets, PUT secrets"},
		{"a change", func() { d.fill(t, copyOf(one, text(2), time0.Now())) }, "PUT secrets, PUT syncedsecrets"},
		{
			"after a restart", func() { d = l.start(t, "node-1", time0); d.fill(t, copyOf(one, text(2), time0.Now())) },
			"GET pods, GET syncedsecrets, PUT secrets",
		},
	} {
		if step.name != "first" {
			l.cached(t, "requests")
		}
		d.wire.requests()
		step.do()
		if diff := cmp.Diff(step.want, d.wire.requests()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.name, diff)
		}
	}
	l.holds(t, "requests", "s", text(2))
	if owners := l.synced(t, "requests", "s").OwnerReferences; len(owners) != 2 || owners[1].Kind != "Pod" || owners[1].Name != "bare" {
		t.Errorf("owners %v", owners)
	}
}
