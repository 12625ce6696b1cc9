//go:build unix

package kube_test

import (
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// What others do to a Secret is undone by a repeat, without claiming that it is newer;
// a repeat that has something to do comes less often.
func (l secretLab) healed(t *testing.T) {
	l.namespace(t, "healed")
	c := newClock()
	d := l.start(t, "node-1", c)
	again := repeat(copyOf(l.pod(t, "healed", "p", "rs"), text(1), c.Now()))
	first := again
	first.Repeat = false
	d.fill(t, first)
	noted := l.synced(t, "healed", "s").Status.FetchTime
	again.Fetched = again.Fetched.Add(time.Minute) // fetched again since, and it is the same
	for _, step := range []struct {
		name, want string
		do         func()
		min        time.Duration
	}{
		{"edited", "GET syncedsecrets, PUT secrets, GET syncedsecrets, GET syncedsecrets, PUT secrets, PUT syncedsecrets", func() {
			s := l.secret(t, "healed", "s")
			s.Data["password"], s.Data["more"] = []byte("mine"), []byte("x")
			if err := l.api.Update(t.Context(), s); err != nil {
				t.Fatal(err)
			}
		}, 8 * time.Minute},
		{"nothing", "GET syncedsecrets, PUT secrets", func() {}, 4 * time.Minute},
		{"deleted", "GET syncedsecrets, PUT secrets, GET syncedsecrets, POST secrets, PUT syncedsecrets", func() {
			l.remove(t, l.secret(t, "healed", "s"))
		}, 8 * time.Minute},
		{"deleted again", "GET syncedsecrets, PUT secrets, GET syncedsecrets, POST secrets, PUT syncedsecrets", func() {
			l.remove(t, l.secret(t, "healed", "s"))
		}, 16 * time.Minute},
		{"nothing", "GET syncedsecrets, PUT secrets", func() {}, 4 * time.Minute},
	} {
		step.do()
		c.add(time.Hour)
		l.cached(t, "healed")
		d.wire.requests()
		delay := d.fill(t, again)
		if delay < step.min || delay > step.min*5/4 {
			t.Errorf("%s: again in %v", step.name, delay)
		}
		if got := d.wire.requests(); got != step.want {
			t.Errorf("%s: %s", step.name, got)
		}
		l.holds(t, "healed", "s", text(1))
		secret, status := l.secret(t, "healed", "s"), l.synced(t, "healed", "s").Status
		if status.SecretUID != string(secret.UID) || status.SecretResourceVersion != secret.ResourceVersion || !status.FetchTime.Equal(noted) {
			t.Errorf("%s: %+v, want %s %s %v", step.name, status, secret.UID, secret.ResourceVersion, noted)
		}
	}
	l.healedClaim(t, d, again)
}

// Where the SyncedSecret is deleted, the Secret goes, and both come back.
func (l secretLab) healedClaim(t *testing.T, d *driver, again rotation.Copy) {
	t.Helper()
	l.remove(t, l.synced(t, "healed", "s"))
	if err := l.collect(t.Context(), "healed", nothing); err != nil {
		t.Fatal(err)
	}
	d.clock.add(time.Hour)
	d.fill(t, again)
	l.holds(t, "healed", "s", text(1))
	going := l.synced(t, "healed", "s")
	going.Finalizers = []string{"test/stay"}
	if err := l.api.Update(t.Context(), going); err != nil {
		t.Fatal(err)
	}
	l.remove(t, going)
	d.clock.add(time.Hour)
	_, err := d.Fill(t.Context(), again)
	if provider.KindOf(err) != provider.Busy || !strings.Contains(err.Error(), "is being deleted") {
		t.Errorf("%v", err)
	}
	going = l.synced(t, "healed", "s")
	going.Finalizers = nil
	if err := l.api.Update(t.Context(), going); err != nil {
		t.Fatal(err)
	}
}

// A key that leaves the class leaves the Secret.
func (l secretLab) droppedKey(t *testing.T) {
	l.namespace(t, "dropped")
	c := newClock()
	d := l.start(t, "node-1", c)
	pod := l.pod(t, "dropped", "p", "rs")
	more := copyOf(pod, text(1), c.Now())
	more.Object.Data = append(more.Object.Data, rotation.SecretKey{File: "f", Key: "old"})
	more.Object.Labels = map[string]string{"old": "label"}
	d.fill(t, more)
	d.fill(t, copyOf(pod, text(1), c.Now()))
	s := l.secret(t, "dropped", "s")
	if len(s.Data) != 1 || s.Labels["old"] != "" || s.Labels["app"] != "shop" {
		t.Errorf("data has %d keys, labels %v", len(s.Data), s.Labels)
	}
}

func (l secretLab) anotherType(t *testing.T) {
	l.namespace(t, "type")
	c := newClock()
	d := l.start(t, "node-1", c)
	changed := copyOf(l.pod(t, "type", "p", "rs"), text(1), c.Now())
	d.fill(t, changed)
	changed.Object.Type = "kubernetes.io/basic-auth"
	d.refused(t, changed, rotation.SecretInvalid, "the type of a secret cannot be changed: delete it")
	l.remove(t, l.secret(t, "type", "s"))
	d.fill(t, changed)
	if got := l.secret(t, "type", "s").Type; got != corev1.SecretTypeBasicAuth {
		t.Errorf("type %s", got)
	}
}

// What the API server does not accept is named, and not shown.
func (l secretLab) invalid(t *testing.T) {
	l.namespace(t, "invalid")
	c := newClock()
	d := l.start(t, "node-1", c)
	pod := l.pod(t, "invalid", "p", "rs")
	for _, tc := range []struct {
		change func(*rotation.SecretObject)
		says   string
	}{
		{func(o *rotation.SecretObject) { o.Labels = map[string]string{"a": "no label"} }, "metadata.labels"},
		{func(o *rotation.SecretObject) {
			o.Type = "kubernetes.io/dockerconfigjson"
			o.Data[0].Key = ".dockerconfigjson"
		}, "data[.dockerconfigjson]"},
		{func(o *rotation.SecretObject) { o.Type = "kubernetes.io/ssh-auth" }, "data[ssh-privatekey]"},
		{func(o *rotation.SecretObject) { o.Type = "kubernetes.io/tls" }, "no place in a secret of type"},
		{func(o *rotation.SecretObject) { o.Type = "" }, "has no type"},
		{func(o *rotation.SecretObject) { o.Data[0].File = "g" }, `"g" is no file`},
	} {
		bad := copyOf(pod, text(1), c.Now())
		tc.change(&bad.Object)
		d.refused(t, bad, rotation.SecretInvalid, tc.says)
	}
	if err := l.collect(t.Context(), "invalid", func(metav1.OwnerReference) bool { return true }); err != nil {
		t.Fatal(err)
	}
}
