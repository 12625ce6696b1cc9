//go:build unix

package kube_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strongroom/strongroom/pkg/rotation"
)

// killScenes are what a driver is at when it is killed: what was before, and the call.
func (l secretLab) killScenes() map[string]func(t *testing.T, namespace string, c *clock) rotation.Copy {
	web := func(t *testing.T, namespace, text string, c *clock) rotation.Copy {
		return copyOf(l.pod(t, namespace, "web", "web"), text, c.Now())
	}
	return map[string]func(*testing.T, string, *clock) rotation.Copy{
		"first": func(t *testing.T, namespace string, c *clock) rotation.Copy { return web(t, namespace, text(1), c) },
		"change": func(t *testing.T, namespace string, c *clock) rotation.Copy {
			before := web(t, namespace, text(0), c)
			l.start(t, "node-1", c).fill(t, before)
			c.add(time.Minute)
			return copyOf(before.Pod, text(1), c.Now())
		},
		"owner": func(t *testing.T, namespace string, c *clock) rotation.Copy {
			l.start(t, "node-1", c).fill(t, copyOf(l.pod(t, namespace, "other", "other"), text(1), c.Now()))
			return web(t, namespace, text(1), c)
		},
		"edited": func(t *testing.T, namespace string, c *clock) rotation.Copy {
			ask := web(t, namespace, text(1), c)
			l.start(t, "node-1", c).fill(t, ask)
			s := l.secret(t, namespace, "s")
			s.Data["password"] = []byte("mine")
			if err := l.api.Update(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			return repeat(ask)
		},
		"deleted": func(t *testing.T, namespace string, c *clock) rotation.Copy {
			ask := web(t, namespace, text(1), c)
			l.start(t, "node-1", c).fill(t, ask)
			l.remove(t, l.secret(t, namespace, "s"))
			return repeat(ask)
		},
	}
}

// A driver is killed before each of its requests, and the next one finishes, without a
// policy and with garbage collection as Kubernetes has it.
func (l secretLab) killed(t *testing.T) {
	for name, scene := range l.killScenes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				namespace := fmt.Sprintf("killed-%s-%d", name, n)
				l.namespace(t, namespace)
				c := newClock()
				ask := scene(t, namespace, c)
				stop := l.collecting(t, namespace)
				d := l.start(t, "node-1", c)
				d.wire.cutAt = n
				_, err := d.Fill(t.Context(), ask)
				showsNothing(t, err)
				l.finishes(t, l.start(t, "node-2", c), ask)
				stop()
				if err == nil {
					return
				}
			}
		})
	}
}

// The answer to each request is lost, and the same driver goes on.
func (l secretLab) cutOff(t *testing.T) {
	for name, scene := range l.killScenes() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				namespace := fmt.Sprintf("cut-%s-%d", name, n)
				l.namespace(t, namespace)
				c := newClock()
				ask := scene(t, namespace, c)
				stop := l.collecting(t, namespace)
				d := l.start(t, "node-1", c)
				d.wire.lose = n
				_, err := d.Fill(t.Context(), ask)
				showsNothing(t, err)
				d.wire.mu.Lock()
				d.wire.lose = 0
				d.wire.mu.Unlock()
				l.finishes(t, d, ask)
				stop()
				if err == nil {
					return
				}
			}
		})
	}
}

// collecting runs garbage collection until it is stopped.
func (l secretLab) collecting(t *testing.T, namespace string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		for ctx.Err() == nil {
			if err := l.collect(ctx, namespace, nothing); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	return func() { cancel(); group.Wait() }
}

// finishes tries as rotation does, and checks that all is as if nothing had happened.
func (l secretLab) finishes(t *testing.T, d *driver, ask rotation.Copy) {
	t.Helper()
	var err error
	for range 5 {
		if _, err = d.Fill(t.Context(), ask); err == nil {
			break
		}
		d.clock.add(time.Second)
	}
	if err != nil {
		t.Fatal(err)
	}
	namespace := ask.Pod.Namespace
	l.holds(t, namespace, "s", text(1))
	synced, secret := l.synced(t, namespace, "s"), l.secret(t, namespace, "s")
	if synced.Status.SecretUID != string(secret.UID) || synced.Status.SecretResourceVersion != secret.ResourceVersion ||
		len(secret.OwnerReferences) != 1 || secret.OwnerReferences[0].UID != synced.UID {
		t.Errorf("%s: secret %s %s of %v, noted %+v", namespace, secret.UID, secret.ResourceVersion, secret.OwnerReferences, synced.Status)
	}
	count := 0
	for _, o := range synced.OwnerReferences {
		if o == (metav1.OwnerReference{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "web", UID: "uid-web"}) {
			count++
		}
	}
	if count != 1 {
		t.Errorf("%s: owners %v", namespace, synced.OwnerReferences)
	}
	d.clock.add(time.Minute)
	l.cached(t, namespace)
	d.wire.requests()
	d.fill(t, repeat(ask))
	if got := d.wire.requests(); got != "GET syncedsecrets, PUT secrets" {
		t.Errorf("%s: a repeat asks for %s", namespace, got)
	}
}
