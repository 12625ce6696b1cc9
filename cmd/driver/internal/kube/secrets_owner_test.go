//go:build unix

package kube_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/pkg/rotation"
)

func ownerNames(owners []metav1.OwnerReference) string {
	var names []string
	for _, o := range owners {
		names = append(names, o.Kind+" "+o.Name)
	}
	return strings.Join(names, ", ")
}

// An owner is there once, from whichever node, and comes back if somebody took it away
// while its pod lives.
func (l secretLab) owners(t *testing.T) {
	l.namespace(t, "owners")
	c := newClock()
	one, two := l.start(t, "node-1", c), l.start(t, "node-2", c)
	first, second, other := l.pod(t, "owners", "a-1", "a"), l.pod(t, "owners", "a-2", "a"), l.pod(t, "owners", "b-1", "b")
	fetched := c.Now()
	one.fill(t, copyOf(first, text(1), fetched))
	two.fill(t, copyOf(second, text(1), fetched))
	two.fill(t, copyOf(other, text(1), fetched))
	one.fill(t, repeat(copyOf(first, text(1), fetched)))
	if got := ownerNames(l.synced(t, "owners", "s").OwnerReferences); got != "ReplicaSet a, ReplicaSet b" {
		t.Errorf("owners %s", got)
	}
	if owners := l.secret(t, "owners", "s").OwnerReferences; len(owners) != 1 {
		t.Errorf("the secret has owners %v", owners)
	}
	if err := l.collect(t.Context(), "owners", func(o metav1.OwnerReference) bool { return o.Name == "a" }); err != nil {
		t.Fatal(err)
	}
	c.add(5 * time.Minute)
	one.fill(t, repeat(copyOf(first, text(1), fetched)))
	if got := ownerNames(l.synced(t, "owners", "s").OwnerReferences); got != "ReplicaSet b, ReplicaSet a" {
		t.Errorf("owners %s", got)
	}
	// Garbage collection was right this time: the pod is gone as well.
	l.remove(t, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "owners", Name: "a-1"}})
	if err := l.collect(t.Context(), "owners", func(o metav1.OwnerReference) bool { return o.Name == "a" }); err != nil {
		t.Fatal(err)
	}
	c.add(5 * time.Minute)
	one.fill(t, repeat(copyOf(first, text(1), fetched)))
	if got := ownerNames(l.synced(t, "owners", "s").OwnerReferences); got != "ReplicaSet b" {
		t.Errorf("owners %s", got)
	}
}

// Nothing is made for a pod that is gone, is going, or is another one of that name.
func (l secretLab) gonePods(t *testing.T) {
	l.namespace(t, "gone")
	c := newClock()
	d := l.start(t, "node-1", c)
	going := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "gone", Name: "going", Finalizers: []string{"test/stay"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
	l.create(t, going)
	l.remove(t, going)
	l.pod(t, "gone", "web-0", "")
	for _, pod := range []struct{ name, uid string }{{"none", "u"}, {"going", string(going.UID)}, {"web-0", "an earlier one"}} {
		again := d.fill(t, copyOf(podOf("gone", pod.name, pod.uid), text(1), c.Now()))
		if got := d.wire.requests(); got != "GET pods" || again < 4*time.Minute {
			t.Errorf("%s: %s, again in %v", pod.name, got, again)
		}
	}
}

// A thousand owners come and go, and nothing grows.
func (l secretLab) manyOwners(t *testing.T) {
	l.namespace(t, "many")
	c := newClock()
	d := l.start(t, "node-1", c)
	const batch = 50
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	var first, last [2]int
	for round := range rounds {
		c.add(time.Minute)
		var group sync.WaitGroup
		for n := range batch {
			pod := l.pod(t, "many", fmt.Sprintf("p-%d-%d", round, n), fmt.Sprintf("rs-%d-%d", round, n))
			group.Go(func() { d.fill(t, copyOf(pod, text(1), c.Now())) })
		}
		group.Wait()
		if got := len(l.synced(t, "many", "s").OwnerReferences); got != batch+min(round, 1) {
			t.Errorf("%d owners", got)
		}
		live := fmt.Sprintf("rs-%d-0", round)
		if err := l.collect(t.Context(), "many", func(o metav1.OwnerReference) bool { return o.Name != live }); err != nil {
			t.Fatal(err)
		}
		if last = l.sizes(t, "many", "s"); round == 0 {
			first = last
		}
	}
	if last[0] > first[0]+50 || last[1] > first[1]+50 {
		t.Errorf("the secret and its syncedsecret had %v bytes, and have %v after %d owners", first, last, rounds*batch)
	}
	synced := l.synced(t, "many", "s")
	if len(synced.OwnerReferences) != 1 || len(synced.ManagedFields) > 2 {
		t.Errorf("%d owners, %d entries of managed fields", len(synced.OwnerReferences), len(synced.ManagedFields))
	}
}

// sizes are those of a Secret and its SyncedSecret in JSON, with managed fields.
func (l secretLab) sizes(t *testing.T, namespace, name string) [2]int {
	t.Helper()
	var sizes [2]int
	for i, object := range []client.Object{l.secret(t, namespace, name), l.synced(t, namespace, name)} {
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		sizes[i] = len(bytes.TrimSpace(text))
	}
	return sizes
}

// Another class that names the Secret is refused, and writes nothing.
func (l secretLab) twoClasses(t *testing.T) {
	l.namespace(t, "classes2")
	c := newClock()
	d := l.start(t, "node-1", c)
	pod := l.pod(t, "classes2", "p", "")
	d.fill(t, copyOf(pod, text(1), c.Now()))
	before, claim := l.secret(t, "classes2", "s"), l.synced(t, "classes2", "s")
	other := copyOf(l.pod(t, "classes2", "q", ""), text(2), c.Now())
	other.Class = "mail"
	for _, d := range []*driver{d, l.start(t, "node-2", c)} {
		d.wire.requests()
		d.refused(t, other, rotation.SecretConflict, "secret classes2/s is filled by class db", "class mail")
		if got := d.wire.requests(); strings.Contains(got, "PUT") || strings.Contains(got, "POST") {
			t.Errorf("requests %s", got)
		}
	}
	if l.secret(t, "classes2", "s").ResourceVersion != before.ResourceVersion || l.synced(t, "classes2", "s").ResourceVersion != claim.ResourceVersion {
		t.Error("something was written")
	}
	if err := l.collect(t.Context(), "classes2", func(o metav1.OwnerReference) bool { return o.Name == "p" }); err != nil {
		t.Fatal(err)
	}
	d.fill(t, other) // the first class has no user left
	l.holds(t, "classes2", "s", text(2))
}
