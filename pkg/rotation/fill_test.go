package rotation_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/pkg/rotation"
)

// When a person has mended why a Secret was refused, it is filled for all volumes that
// asked for it, and all their records say so.
func TestRefusedForManyVolumes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &secrets{again: 5 * time.Minute}
		s.fail(&rotation.Refusal{Reason: rotation.SyncNotAllowed, Err: errors.New("no")})
		with := syncing(s, w)
		r := w.volumes(t, func(cfg *rotation.Config) { with(cfg); cfg.Interval = 0 })
		run(t, r)
		for n := range 5 {
			if err := r.Publish(t.Context(), volume(n)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(6 * time.Minute)
		if n := counts(r)[rotation.Unsynced]; n != 5 {
			t.Errorf("%d volumes are not synced", n)
		}
		s.fail(nil)
		time.Sleep(6 * time.Minute)
		if n := counts(r)[rotation.Unsynced]; n != 0 {
			t.Errorf("%d volumes are still not synced", n)
		}
		w.wantNews(t, [2]string{"p SyncNotAllowed"}, [2]string{"", "is filled again"})
	})
}

// A class that lists a Secret twice fills it as it is listed first, and is told so: two
// that write in turn would never end.
func TestSecretListedTwice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &secrets{again: 5 * time.Minute}
		with := syncing(s, w)
		get := w.class
		w.class = func(namespace, name string) (rotation.Class, error) {
			class, err := get(namespace, name)
			class.Secrets = append(class.Secrets, class.Secrets[0])
			return class, err
		}
		r := w.volumes(t, with)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Minute)
		if got := s.take(); len(got) != 3 {
			t.Errorf("filled %q", got)
		}
		w.wantNews(t, [2]string{"p FailedToCreateSecret", "lists secret db twice"})
	})
}

// A failure that may pass, and does not, is recorded.
func TestUnfilledIsRecorded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &secrets{again: time.Hour}
		s.fail(errors.New("answers 500"))
		recorded := w.records()
		r := w.volumes(t, syncing(s, w))
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Second)
		wantRecord(t, recorded(), len(recorded()), rotation.Condition{Type: rotation.Synced, Reason: rotation.SecretInvalid})
	})
}

// picky refuses what was mounted first once want is set.
type picky struct {
	*secrets

	want atomic.Bool
}

func (p *picky) Fill(ctx context.Context, c rotation.Copy) (time.Duration, error) {
	if p.want.Load() && string(c.Files[0].Contents) == "1" {
		return 0, &rotation.Refusal{Reason: rotation.SecretInvalid, Err: errors.New("no such file")}
	}
	return p.secrets.Fill(ctx, c)
}

// A class that gets an object and a Secret of it at once is no cause for alarm until the
// object was fetched.
func TestSecretOfANewObject(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, st, s := newWorld(), &store{value: "1", version: "v1"}, &picky{secrets: &secrets{again: 5 * time.Minute}}
		w.mount = st.mount
		with := syncing(s.secrets, w)
		class, _ := w.class("", "")
		e := &edited{class: class}
		w.class = e.get
		recorded := w.records()
		r := w.volumes(t, func(cfg *rotation.Config) { with(cfg); cfg.Secrets, cfg.Interval = s, time.Hour })
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		s.want.Store(true)
		st.set("v2", nil)
		e.edit(r, func(c *rotation.Class) { c.Generation++ })
		time.Sleep(40 * time.Second)
		wantRecord(t, recorded(), len(recorded()), rotation.Condition{Type: rotation.Synced, OK: true})
		w.wantNews(t)
		if n := counts(r)[rotation.Unsynced]; n != 0 {
			t.Error("not synced")
		}
	})
}

// A process that was killed after a refresh, before it filled the Secret anew, leaves
// that to the next one; nobody waits for the repeat.
func TestChangedSecretsAreResumed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, st, s := newWorld(), &store{value: "1", version: "v1"}, &secrets{again: time.Hour}
		w.mount = st.mount
		with := syncing(s, w)
		r := w.volumes(t, with)
		ctx, kill := context.WithCancel(t.Context())
		go func() { _ = r.Run(ctx) }()
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		st.set("v2", nil)
		s.fail(errors.New("connection refused"))
		for w.content("/t/1") != "2" {
			time.Sleep(100 * time.Millisecond)
		}
		kill()
		synctest.Wait()
		s.fail(nil)
		for _, want := range []string{"db 2 repeat=false", ""} { // and not again by the next but one
			s.take()
			r := w.volumes(t, with)
			if err := r.Scan(); err != nil {
				t.Fatal(err)
			}
			ctx, kill := context.WithCancel(t.Context())
			go func() { _ = r.Run(ctx) }()
			time.Sleep(2 * time.Second) // it may have to wait for the record
			got := slices.DeleteFunc(s.take(), func(call string) bool { return strings.HasSuffix(call, "=true") })
			if strings.Join(got, ", ") != want {
				t.Errorf("filled %q, want %q", got, want)
			}
			if err := r.Publish(t.Context(), volume(1)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(interval + interval/5)
			kill()
			synctest.Wait()
		}
	})
}

// What a version of the driver remembered that filled no Secrets is no reason to fill
// none, and what a class lists since the mount is not forgotten by a restart.
func TestSecretsAreRemembered(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &secrets{again: 5 * time.Minute}
		with := syncing(s, w)
		if err := w.volumes(t, with).Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		s.take()
		w.forgets(t, "/t/1", "secrets", "synced", "ready", "interval", "never")
		r := w.volumes(t, with)
		if err := r.Scan(); err != nil {
			t.Fatal(err)
		}
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(interval + interval/5)
		if got := s.take(); !slices.Contains(got, "db 1 repeat=false") {
			t.Errorf("filled %q", got)
		}
		get := w.class
		w.class = func(namespace, name string) (rotation.Class, error) {
			class, err := get(namespace, name)
			class.Generation, class.Never = 2, true
			class.Secrets = append(class.Secrets, rotation.SecretObject{Name: "more"})
			return class, err
		}
		r.ClassChanged(rotation.ClassName{Namespace: "ns", Name: "c"}, rotation.Told{UID: "u", Generation: 2})
		time.Sleep(time.Minute)
		if found, _ := w.Look("/t/1"); !strings.Contains(string(found.Memory), `"more"`) {
			t.Errorf("remembers %s", found.Memory)
		}
	})
}

// forgets takes fields out of what a volume remembers.
func (w *world) forgets(t *testing.T, target string, fields ...string) {
	t.Helper()
	found, _ := w.Look(target)
	memory := map[string]any{}
	if err := json.Unmarshal(found.Memory, &memory); err != nil {
		t.Fatal(err)
	}
	for _, field := range fields {
		delete(memory, field)
	}
	text, err := json.Marshal(memory)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Remember(target, text); err != nil {
		t.Fatal(err)
	}
}
