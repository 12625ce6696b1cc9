//go:build unix

package kube_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// Two nodes get different answers from a store. The later one stays as long as nobody
// fetches again.
func (l secretLab) diverging(t *testing.T) {
	l.namespace(t, "diverging")
	c := newClock()
	one, two := l.start(t, "node-1", c), l.start(t, "node-2", c)
	old := copyOf(l.pod(t, "diverging", "a", "rs"), text(1), c.Now())
	one.fill(t, old)
	c.add(time.Second)
	fresh := copyOf(l.pod(t, "diverging", "b", "rs"), text(2), c.Now())
	two.fill(t, fresh)
	version := l.secret(t, "diverging", "s").ResourceVersion
	for range 50 {
		c.add(5 * time.Minute)
		for d, ask := range map[*driver]rotation.Copy{one: old, two: fresh} {
			if again := d.fill(t, repeat(ask)); again < 4*time.Minute || again > 5*time.Minute {
				t.Errorf("again in %v", again)
			}
		}
	}
	restarted := l.start(t, "node-1", c)
	restarted.fill(t, repeat(old))
	restarted.fill(t, old)
	if l.secret(t, "diverging", "s").ResourceVersion != version {
		t.Error("the secret was written, although nobody fetched anything")
	}
	l.holds(t, "diverging", "s", text(2))
	// Both fetch all the time, and never agree: each writes once at most.
	changes := l.disagree(t, c, map[*driver]rotation.Copy{one: old, two: fresh})
	if changes > 2 {
		t.Errorf("%d changes in three days", changes)
	}
	c.add(time.Second)
	fresh.Fetched, fresh.Files = c.Now(), []provider.File{{Path: "f", Contents: []byte(text(3))}}
	two.fill(t, fresh) // news are written at once all the same
	l.holds(t, "diverging", "s", text(3))
}

// disagree repeats what nodes have for three days, each time fetched just now, and
// counts how often the Secret changes.
func (l secretLab) disagree(t *testing.T, c *clock, asks map[*driver]rotation.Copy) (changes int) {
	t.Helper()
	due := map[*driver]time.Time{}
	last := l.secret(t, "diverging", "s").ResourceVersion
	for end := c.Now().Add(72 * time.Hour); c.Now().Before(end); c.add(time.Minute) {
		for d, ask := range asks {
			if c.Now().Before(due[d]) {
				continue
			}
			ask.Fetched = c.Now()
			due[d] = c.Now().Add(d.fill(t, repeat(ask)))
			if now := l.secret(t, "diverging", "s").ResourceVersion; now != last {
				last, changes = now, changes+1
			}
		}
	}
	return changes
}

// A node whose content was fetched earlier writes nothing, unless there is nothing.
func (l secretLab) behindNode(t *testing.T) {
	l.namespace(t, "behind")
	c := newClock()
	one, two := l.start(t, "node-1", c), l.start(t, "node-2", c)
	old := copyOf(l.pod(t, "behind", "a", "rs"), text(1), c.Now())
	fresh := copyOf(l.pod(t, "behind", "b", "rs"), text(2), c.Now().Add(time.Second))
	two.fill(t, fresh)
	version := l.secret(t, "behind", "s").ResourceVersion
	one.fill(t, old)
	old.Files = fresh.Files // other content, also fetched before: nothing to write either
	one.fill(t, old)
	if l.secret(t, "behind", "s").ResourceVersion != version {
		t.Error("older content was written")
	}
	l.holds(t, "behind", "s", text(2))
	l.cached(t, "behind")
	one.wire.requests()
	one.fill(t, repeat(old))
	if got := one.wire.requests(); got != "GET syncedsecrets, POST secrets" || l.secret(t, "behind", "s").ResourceVersion != version {
		t.Errorf("a repeat asks for %s", got)
	}
	l.remove(t, l.secret(t, "behind", "s"))
	old.Files = []provider.File{{Path: "f", Contents: []byte(text(1))}}
	one.fill(t, repeat(old))
	l.holds(t, "behind", "s", text(1))
	c.add(5 * time.Minute)
	two.fill(t, repeat(fresh))
	l.holds(t, "behind", "s", text(2))
	one.fill(t, repeat(old))
	l.holds(t, "behind", "s", text(2))
}

// A node reads what stands in the way, is held up, and writes when another node has
// written: it fails, looks again, and stands back.
func (l secretLab) late(t *testing.T) {
	l.namespace(t, "late")
	c := newClock()
	one, two := l.start(t, "node-1", c), l.start(t, "node-2", c)
	a, b := l.pod(t, "late", "a", "rs"), l.pod(t, "late", "b", "rs")
	one.fill(t, copyOf(a, text(0), c.Now()))
	stale, fresh := copyOf(a, text(1), c.Now().Add(time.Second)), copyOf(b, text(2), c.Now().Add(2*time.Second))
	c.add(time.Minute)
	var once sync.Once
	one.wire.before = func(r *http.Request) {
		if describe(r) == "PUT secrets" {
			once.Do(func() { two.fill(t, fresh) })
		}
	}
	one.fill(t, stale)
	l.holds(t, "late", "s", text(2))
	status := l.synced(t, "late", "s").Status
	if status.NodeName != "node-2" || status.SecretResourceVersion != l.secret(t, "late", "s").ResourceVersion {
		t.Errorf("%+v", status)
	}
}

// Many pods of several nodes ask at once.
func (l secretLab) sideBySide(t *testing.T) {
	l.namespace(t, "side")
	c := newClock()
	fetched := c.Now()
	var pods []provider.Pod
	for n := range 24 {
		pods = append(pods, l.pod(t, "side", text(n), text(n%3)))
	}
	var group sync.WaitGroup
	for node := range 3 {
		d := l.start(t, text(node), c)
		for n := node; n < len(pods); n += 3 {
			group.Go(func() {
				_, err := d.Fill(t.Context(), copyOf(pods[n], text(n%2), fetched.Add(time.Duration(n%2)*time.Second)))
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	synced, secret := l.synced(t, "side", "s"), l.secret(t, "side", "s")
	if len(synced.OwnerReferences) != 3 {
		t.Errorf("owners %v", synced.OwnerReferences)
	}
	if synced.Status.SecretResourceVersion != secret.ResourceVersion || string(secret.Data["password"]) != text(1) {
		t.Errorf("%s %s, %+v", secret.Data, secret.ResourceVersion, synced.Status)
	}
}

// Who waits for a turn, or for an API server that is away, waits as long as it may.
func (l secretLab) patience(t *testing.T) {
	l.namespace(t, "patience")
	c := newClock()
	d := l.start(t, "node-1", c)
	one, two := l.pod(t, "patience", "a", "rs"), l.pod(t, "patience", "b", "rs")
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	d.wire.before = func(r *http.Request) {
		if describe(r) == "POST secrets" {
			once.Do(func() { close(entered); <-leave })
		}
	}
	var group sync.WaitGroup
	group.Go(func() { d.fill(t, copyOf(one, text(1), c.Now())) })
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := d.Fill(ctx, copyOf(two, text(1), c.Now())); provider.KindOf(err) != provider.Timeout {
		t.Errorf("waiting for the turn: %v", err)
	}
	close(leave)
	group.Wait()
	d.wire.cutAt = 1
	if _, err := d.Fill(t.Context(), copyOf(two, text(2), c.Now())); provider.KindOf(err) != provider.Unavailable {
		t.Errorf("API server away: %v", err)
	}
}
