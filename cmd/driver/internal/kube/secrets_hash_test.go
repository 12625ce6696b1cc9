//go:build unix

package kube_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/cmd/driver/internal/kube"
	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// startHashing starts a driver that has a file with the key of content hashes.
func (l secretLab) startHashing(t *testing.T, key, node string, c *clock) *driver {
	t.Helper()
	d := l.start(t, node, c)
	d.SetHashKeyFile(key)
	return d
}

func (l secretLab) contentHash(t *testing.T, namespace string) string {
	t.Helper()
	return l.secret(t, namespace, "s").Annotations[kube.ContentHashAnnotation]
}

func (l secretLab) version(t *testing.T, namespace string) string {
	t.Helper()
	return l.secret(t, namespace, "s").ResourceVersion
}

// The content hash is the same from all nodes, changes with the content and with nothing
// else, and once; a driver that is started again writes nothing.
func (l secretLab) hashes(t *testing.T) {
	l.namespace(t, "hashes")
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("k", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newClock()
	one, two := l.startHashing(t, key, "node-1", c), l.startHashing(t, key, "node-2", c)
	first := copyOf(l.pod(t, "hashes", "a", "rs"), text(1), c.Now())
	same := copyOf(l.pod(t, "hashes", "b", "rs"), text(1), c.Now().Add(time.Second))
	one.fill(t, first)
	hash, version := l.contentHash(t, "hashes"), l.version(t, "hashes")
	if hash == "" || strings.Contains(hash, value) {
		t.Fatalf("the hash is %q", hash)
	}
	for _, step := range []struct {
		name string
		do   func()
	}{
		{"another node", func() { two.fill(t, same) }},
		{"a repeat", func() { two.fill(t, repeat(same)); one.fill(t, repeat(first)) }},
		{"a restart", func() {
			one = l.startHashing(t, key, "node-1", c)
			one.fill(t, first)
			one.fill(t, repeat(first))
		}},
	} {
		c.add(5 * time.Minute)
		if step.do(); l.version(t, "hashes") != version || l.contentHash(t, "hashes") != hash {
			t.Errorf("%s: the secret was written, or its hash is another: %s", step.name, l.contentHash(t, "hashes"))
		}
	}
	changed := first
	changed.Files, changed.Fetched = []provider.File{{Path: "f", Contents: []byte(text(2))}}, c.Now()
	one.fill(t, changed)
	after, version := l.contentHash(t, "hashes"), l.version(t, "hashes")
	same.Files, same.Fetched = changed.Files, c.Now().Add(time.Second)
	two.fill(t, same)
	if after == hash || l.contentHash(t, "hashes") != after || l.version(t, "hashes") != version {
		t.Errorf("after a change %s, and then %s; before it was %s", after, l.contentHash(t, "hashes"), hash)
	}
	l.relabelled(t, two, same)
}

// relabelled: what the class says otherwise changes no hash, an edit is healed.
func (l secretLab) relabelled(t *testing.T, d *driver, c rotation.Copy) {
	t.Helper()
	hash := l.contentHash(t, "hashes")
	c.Object.Labels, c.Object.Annotations = map[string]string{"app": "other"}, map[string]string{kube.ContentHashAnnotation: "mine"}
	c.Fetched = c.Fetched.Add(time.Second)
	d.fill(t, c)
	s := l.secret(t, "hashes", "s")
	if s.Labels["app"] != "other" || s.Annotations[kube.ContentHashAnnotation] != hash {
		t.Errorf("%v %v", s.Labels, s.Annotations)
	}
	s.Annotations[kube.ContentHashAnnotation] = "edited"
	if err := l.api.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	d.clock.add(5 * time.Minute)
	d.fill(t, repeat(c))
	if got := l.contentHash(t, "hashes"); got != hash {
		t.Errorf("healed to %s", got)
	}
}

// Without a key there is no hash, so an upgrade changes no Secret. A key that comes
// later counts from then on.
func (l secretLab) lateKey(t *testing.T) {
	l.namespace(t, "late-key")
	file := filepath.Join(t.TempDir(), "key")
	c := newClock()
	d := l.startHashing(t, "", "node-1", c)
	ask := copyOf(l.pod(t, "late-key", "a", "rs"), text(1), c.Now())
	d.fill(t, ask)
	version := l.version(t, "late-key")
	d = l.startHashing(t, file, "node-1", c)
	d.fill(t, repeat(ask))
	for content, says := range map[string]string{"": "has 0 bytes", strings.Repeat("k", 31) + "\n": "has 31 bytes, and must have 32"} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := kube.ReadHashKey(file); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "kkk") {
			t.Errorf("%q: %v", content, err)
		}
		c.add(5 * time.Minute)
		d.fill(t, repeat(ask))
	}
	if l.version(t, "late-key") != version || l.contentHash(t, "late-key") != "" {
		t.Error("the secret was written without a key")
	}
	if err := os.WriteFile(file, []byte(strings.Repeat("k", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	c.add(5 * time.Minute)
	d.fill(t, repeat(ask))
	hash := l.contentHash(t, "late-key")
	if err := os.Remove(file); err != nil { // what is known stays
		t.Fatal(err)
	}
	c.add(5 * time.Minute)
	d.fill(t, repeat(ask))
	if hash == "" || l.contentHash(t, "late-key") != hash {
		t.Errorf("hash %q, and then %q", hash, l.contentHash(t, "late-key"))
	}
}
