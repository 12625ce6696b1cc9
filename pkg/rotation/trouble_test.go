package rotation_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// A forced refresh of a class that keeps what was mounted is tried until it succeeds.
func TestForcedThoughNever(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		e := &edited{class: rotation.Class{UID: "u", Generation: 1, Provider: "acme", Parameters: map[string]string{"role": "r"}, Never: true}}
		w.mount, w.class = s.mount, e.get
		recorded := w.records()
		r := w.volumes(t, rotating)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		s.set("v2", provider.Errorf(provider.Unavailable, "down"))
		e.edit(r, func(c *rotation.Class) { c.Refresh = "1" })
		time.Sleep(5 * time.Minute)
		wantRecord(t, recorded(), 2, rotation.Condition{Type: rotation.Ready, Reason: rotation.StoreUnavailable})
		s.set("v2", nil)
		time.Sleep(5 * time.Minute)
		if got := w.content("/t/1"); got != "2" {
			t.Errorf("content %q", got)
		}
		wantRecord(t, recorded(), 3, rotation.Condition{Type: rotation.Ready, OK: true})
	})
}

// A volume that could not be refreshed is well once its class wants no refresh.
func TestFailingThenNever(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		e := &edited{class: rotation.Class{UID: "u", Generation: 1, Provider: "acme", Parameters: map[string]string{"role": "r"}}}
		w.mount, w.class = s.mount, e.get
		recorded := w.records()
		r := w.volumes(t, rotating)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		s.set("v2", provider.Errorf(provider.Denied, "no"))
		time.Sleep(5 * time.Minute)
		e.edit(r, func(c *rotation.Class) { c.Generation, c.Never = 2, true })
		time.Sleep(3 * time.Hour)
		wantRecord(t, recorded(), 3, rotation.Condition{Type: rotation.Ready, OK: true})
		if got := counts(r); got[rotation.Failing]+got[rotation.Stale] != 0 {
			t.Errorf("%v", got)
		}
		w.wantNews(t, [2]string{"p StoreDenied"}, [2]string{"", "are refreshed again"})
	})
}

// A class that is forced while one of its volumes is mounted must not be answered from
// reads that began before.
func TestForcedDuringPublish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		e := &edited{class: rotation.Class{UID: "u", Generation: 1, Provider: "acme", Parameters: map[string]string{"role": "r"}}}
		w.class = e.get
		var r *rotation.Volumes
		w.mount = func(ctx context.Context, name string, req *provider.Request) (*provider.Response, error) {
			if s.calls() == 0 {
				e.edit(r, func(c *rotation.Class) { c.Refresh = "1" })
			}
			return s.mount(ctx, name, req)
		}
		r = w.volumes(t, rotating)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(interval / 2)
		if s.calls() != 2 || s.requests[1].NotBefore.IsZero() {
			t.Errorf("%d calls, the last not before %v", s.calls(), s.requests[len(s.requests)-1].NotBefore)
		}
	})
}

// What another driver mounted is refreshed soon, and is no cause for alarm until then.
func TestVolumeOfAnotherDriver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		w.mount = s.mount
		w.class = func(string, string) (rotation.Class, error) {
			time.Sleep(time.Minute) // the API server is slow
			return rotation.Class{UID: "u", Provider: "acme", Parameters: map[string]string{"role": "r"}}, nil
		}
		w.mounted["/t/1"] = rotation.Generation{}
		r := w.volumes(t, rotating)
		if err := r.Scan(); err != nil {
			t.Fatal(err)
		}
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		if got := counts(r)[rotation.Stale]; got != 0 {
			t.Error("stale")
		}
		time.Sleep(time.Minute + interval/10)
		if s.calls() != 1 {
			t.Errorf("%d calls", s.calls())
		}
		w.wantNews(t)
	})
}

// Of many that were not refreshed, one that goes on to fail when the others are well
// again is told by its pod, once; and so is another one that is left after it.
func TestWhatFailsAloneAfterManyIsTold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		down := provider.Errorf(provider.Unavailable, "down")
		var bad atomic.Value // the UIDs of pods for which the store is down
		bad.Store("")
		w.mount = func(ctx context.Context, name string, req *provider.Request) (*provider.Response, error) {
			if strings.Contains(bad.Load().(string), req.Pod.UID) {
				return nil, down
			}
			return s.mount(ctx, name, req)
		}
		r := w.volumes(t, rotating)
		run(t, r)
		for n := range 3 {
			v := volume(n + 1)
			v.Pod.Name = "p" + v.Pod.UID
			if err := r.Publish(t.Context(), v); err != nil {
				t.Fatal(err)
			}
		}
		for _, uids := range []string{"123", "1", "12", "2"} {
			bad.Store(uids)
			time.Sleep(20 * time.Minute)
		}
		w.wantNews(t, [2]string{"", "3 of 3 volumes"}, [2]string{"p1 StoreUnavailable", "1 of 3 volumes"}, [2]string{"p2 StoreUnavailable", "1 of 3 volumes"})
	})
}

// What nobody heard, since the API server was gone, is told later if it is still so.
func TestWhatNobodyHeardIsToldLater(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		w.mount = s.mount
		w.deaf = 3 // for one minute, two and four
		r := w.volumes(t, rotating)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		s.set("v2", provider.Errorf(provider.Denied, "no"))
		time.Sleep(30 * time.Minute)
		w.wantNews(t, [2]string{"p StoreDenied", "1 of 1 volumes"})
		if w.deaf != 0 {
			t.Errorf("tried %d times too few", w.deaf)
		}
	})
}
