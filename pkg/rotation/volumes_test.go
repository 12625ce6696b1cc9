package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// world is what Volumes asks for, as funcs that a test sets.
type world struct {
	mount  func(context.Context, string, *provider.Request) (*provider.Response, error)
	class  func(namespace, name string) (rotation.Class, error)
	record func(context.Context, rotation.Snapshot) error

	mu      sync.Mutex
	mounted map[string]rotation.Generation
	counted []string
	served  int // first mounts
	told    []string
	deaf    int           // how often nobody hears what is told
	slow    time.Duration // of Remember
	pinned  string
}

func (w *world) Mount(ctx context.Context, name string, req *provider.Request) (*provider.Response, error) {
	return w.mount(ctx, name, req)
}

func (w *world) Class(_ context.Context, namespace, name string) (rotation.Class, error) {
	return w.class(namespace, name)
}

func (w *world) Record(ctx context.Context, s rotation.Snapshot) error { return w.record(ctx, s) }

func (w *world) Tell(_ context.Context, n rotation.Notice) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.deaf > 0 {
		w.deaf--
		return errors.New("nobody hears")
	}
	who := n.Pod.Name
	if who == "" {
		who = n.Class.String()
	}
	w.told = append(w.told, who+" "+n.Reason.String()+" "+n.Text)
	return nil
}

func (w *world) Read(target string) ([]provider.File, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mounted[target].Files, nil
}

func (w *world) Pinned(target string) bool { return w.pinned == target }

func (w *world) Filled(name string, _ time.Duration, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counted = append(w.counted, fmt.Sprintf("fill %s %v", name, err == nil))
}

func (w *world) Look(target string) (rotation.Found, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if g, ok := w.mounted[target]; ok {
		return rotation.Found{Target: target, State: rotation.Complete, Memory: g.Memory}, nil
	}
	return rotation.Found{Target: target}, nil
}

func (w *world) Remember(target string, memory []byte) error {
	time.Sleep(w.slow)
	w.mu.Lock()
	defer w.mu.Unlock()
	g, ok := w.mounted[target]
	if !ok {
		return errors.New("not mounted")
	}
	g.Memory = memory
	w.mounted[target] = g
	return nil
}

func (w *world) Scan() ([]rotation.Found, error) {
	w.mu.Lock()
	targets := slices.Sorted(maps.Keys(w.mounted))
	w.mu.Unlock()
	var all []rotation.Found
	for _, target := range targets {
		f, _ := w.Look(target)
		all = append(all, f)
	}
	return all, nil
}

func (w *world) Unmounted(_ context.Context, name string, id provider.VolumeID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, name+" "+string(id))
}

func (w *world) Replace(target string, g rotation.Generation) (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	old, mounted := w.mounted[target]
	if g.Again && !mounted {
		return false, errors.New("not mounted")
	}
	w.mounted[target] = g
	return !cmp.Equal(old.Files, g.Files), nil
}

func (w *world) Remove(target string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.mounted, target)
	return nil
}

func (w *world) Delivered(d rotation.Delivery) {
	w.mu.Lock()
	defer w.mu.Unlock()
	what := "refresh"
	if d.Trigger == rotation.OnMount {
		what = "publish"
		if d.Served {
			w.served++
		}
	}
	w.counted = append(w.counted, fmt.Sprintf("%s %s %d %v", what, d.Provider, d.Phase, d.Err == nil))
}

func (w *world) Unpublished(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counted = append(w.counted, fmt.Sprintf("unpublish %v", err == nil))
}

func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.mounted)
}

// counts is how many volumes are in each state that has any.
func counts(r *rotation.Volumes) map[rotation.VolumeState]int {
	n := map[rotation.VolumeState]int{}
	for state, tally := range r.Report().States {
		if tally.Count > 0 {
			n[state] = tally.Count
		}
	}
	return n
}

func response() *provider.Response {
	return &provider.Response{
		Files:    []provider.File{{Path: "a", Contents: []byte("1")}},
		Versions: []provider.Version{{ID: "a", Version: "1"}},
	}
}

func newWorld() *world {
	return &world{
		mount: func(context.Context, string, *provider.Request) (*provider.Response, error) { return response(), nil },
		class: func(string, string) (rotation.Class, error) {
			return rotation.Class{Provider: "acme", Parameters: map[string]string{"role": "r"}}, nil
		},
		record:  func(context.Context, rotation.Snapshot) error { return nil },
		mounted: map[string]rotation.Generation{},
	}
}

func (w *world) volumes(t *testing.T, more ...func(*rotation.Config)) *rotation.Volumes {
	t.Helper()
	cfg := rotation.Config{Source: w, Cluster: w, Files: w, Notes: w, Mounts: w, Meter: w, Log: slog.New(slog.DiscardHandler)}
	for _, m := range more {
		m(&cfg)
	}
	r, err := rotation.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs r until the test is over.
func run(t *testing.T, r *rotation.Volumes) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = r.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-done })
}

func volume(n int) rotation.Volume {
	return rotation.Volume{
		ID: provider.VolumeID(fmt.Sprint("csi-", n)), Target: fmt.Sprint("/t/", n), Class: "c", GID: rotation.NoGroup,
		Pod: provider.Pod{Name: "p", Namespace: "ns", UID: fmt.Sprint(n)},
	}
}

func TestPublishAsksWithWhatItWasTold(t *testing.T) {
	t.Parallel()
	w := newWorld()
	var asked *provider.Request
	w.mount = func(_ context.Context, name string, req *provider.Request) (*provider.Response, error) {
		asked = req
		if name != "acme" {
			t.Errorf("provider %q", name)
		}
		return response(), nil
	}
	v := volume(1)
	v.Secrets, v.Tokens = map[string]provider.Secret{"s": "1"}, provider.Tokens{"a": {}}
	if err := w.volumes(t).Publish(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	want := &provider.Request{
		Volume: v.ID, Pod: v.Pod, Tokens: v.Tokens, Class: "c", Parameters: map[string]string{"role": "r"},
		Secrets: v.Secrets, Mode: 0o644, TargetPath: "/t/1",
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"publish acme 0 true"}, w.counted); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFailedPublishLeavesNothing(t *testing.T) {
	t.Parallel()
	boom := provider.Errorf(provider.Denied, "boom")
	for name, tc := range map[string]struct {
		change func(*world)
		want   string
		kind   provider.Kind
	}{
		"class": {func(w *world) {
			w.class = func(string, string) (rotation.Class, error) { return rotation.Class{}, boom }
		}, "failed to get secretproviderclass ns/c: APIServerFailed: the API server gave no answer: check it, and the driver's rights: boom", provider.Denied},
		"provider": {func(w *world) {
			w.mount = func(context.Context, string, *provider.Request) (*provider.Response, error) { return nil, boom }
		}, "failed to mount secrets store objects for pod ns/p: StoreDenied: the store refuses the read: grant it to the role or identity: secretproviderclass ns/c: boom", provider.Denied},
		"no provider": {func(w *world) {
			w.class = func(string, string) (rotation.Class, error) {
				return rotation.Class{Parameters: map[string]string{"a": "b"}}, nil
			}
		}, "secretproviderclass ns/c: spec.provider is not set", provider.Invalid},
		"no parameters": {func(w *world) {
			w.class = func(string, string) (rotation.Class, error) { return rotation.Class{Provider: "acme"}, nil }
		}, "spec.parameters is not set", provider.Invalid},
	} {
		w := newWorld()
		tc.change(w)
		err := w.volumes(t).Publish(t.Context(), volume(1))
		if err == nil || !strings.Contains(err.Error(), tc.want) || provider.KindOf(err) != tc.kind {
			t.Errorf("%s: %v (%v)", name, err, provider.KindOf(err))
		}
		if w.count() != 0 {
			t.Errorf("%s: something is mounted", name)
		}
	}
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	w := newWorld()
	v := volume(1)
	v.Attributes = map[string]string{"role": "admin", "x": "y"}
	err := w.volumes(t).Publish(t.Context(), v)
	if provider.KindOf(err) != provider.Invalid || !strings.Contains(err.Error(), "but role, x would") {
		t.Errorf("%v", err)
	}
	var got map[string]string
	w.mount = func(_ context.Context, _ string, req *provider.Request) (*provider.Response, error) {
		got = req.Parameters
		return response(), nil
	}
	allow := func(c *rotation.Config) { c.AllowOverrides = true }
	if err := w.volumes(t, allow).Publish(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"role": "admin", "x": "y"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestRepublishAsksNobody(t *testing.T) {
	t.Parallel()
	w := newWorld()
	r := w.volumes(t)
	if err := r.Publish(t.Context(), volume(1)); err != nil {
		t.Fatal(err)
	}
	w.class = func(string, string) (rotation.Class, error) {
		t.Error("class was asked for")
		return rotation.Class{}, errors.New("no")
	}
	if err := r.Publish(t.Context(), volume(1)); err != nil {
		t.Errorf("republish: %v", err)
	}
	if err := w.volumes(t).Publish(t.Context(), volume(1)); err != nil {
		t.Errorf("republish after a restart: %v", err)
	}
}

func TestSecondPublishInFlightIsAborted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.mount = func(ctx context.Context, _ string, _ *provider.Request) (*provider.Response, error) {
			select {
			case <-time.After(time.Minute):
				return response(), nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		r := w.volumes(t)
		first := make(chan error, 1)
		go func() { first <- r.Publish(t.Context(), volume(1)) }()
		synctest.Wait()
		if err := r.Publish(t.Context(), volume(1)); provider.KindOf(err) != provider.Busy {
			t.Errorf("second: %v", err)
		}
		if err := <-first; err != nil || w.count() != 1 {
			t.Errorf("first: %v", err)
		}
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Errorf("third: %v", err)
		}
	})
}

func TestUnpublishCancelsAPublish(t *testing.T) {
	t.Parallel()
	for _, stubborn := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			w.mount = func(ctx context.Context, _ string, _ *provider.Request) (*provider.Response, error) {
				if stubborn { // answers in spite of the cancel, after a while
					time.Sleep(time.Minute)
					return response(), nil
				}
				<-ctx.Done()
				return nil, ctx.Err()
			}
			r := w.volumes(t)
			first := make(chan error, 1)
			go func() { first <- r.Publish(t.Context(), volume(1)) }()
			synctest.Wait()
			start := time.Now()
			err := r.Unpublish(t.Context(), "csi-1", "/t/1")
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if stubborn != (provider.KindOf(err) == provider.Busy) {
				t.Errorf("unpublish: %v", err)
			}
			if err := <-first; err == nil {
				t.Error("the publish succeeded")
			}
			if w.count() != 0 {
				t.Error("something is mounted")
			}
			if err := r.Unpublish(t.Context(), "csi-1", "/t/1"); err != nil {
				t.Errorf("again: %v", err)
			}
		})
	}
}

func TestRecordsAreRetried(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var mu sync.Mutex
		tries := map[string]int{}
		w.record = func(_ context.Context, s rotation.Snapshot) error {
			mu.Lock()
			defer mu.Unlock()
			id := string(s.Volume)
			tries[id]++
			if id == "csi-1" && tries[id] < 5 {
				return errors.New("down")
			}
			return nil
		}
		r := w.volumes(t)
		for n := range 40 {
			if err := r.Publish(t.Context(), volume(n)); err != nil {
				t.Fatal(err)
			}
		}
		run(t, r) // also what was published before is recorded
		time.Sleep(time.Second / 4)
		synctest.Wait()
		mu.Lock()
		if len(tries) != 40 {
			t.Errorf("one failure holds up the others: %d of 40 tried", len(tries))
		}
		mu.Unlock()
		time.Sleep(time.Hour)
		synctest.Wait()
		if tries["csi-1"] != 5 || tries["csi-2"] != 1 {
			t.Errorf("tries: %v", tries)
		}
	})
}

func TestRecordOfAGoneVolumeIsDropped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		tries := 0
		w.record = func(context.Context, rotation.Snapshot) error {
			tries++
			return errors.New("down")
		}
		r := w.volumes(t)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := r.Unpublish(t.Context(), "csi-1", "/t/1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if tries != 1 {
			t.Errorf("%d tries, want the first alone", tries)
		}
	})
}

func TestAliveUntilWorkersAreStuck(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		release := make(chan struct{})
		w.record = func(context.Context, rotation.Snapshot) error {
			<-release
			return nil
		}
		r := w.volumes(t)
		run(t, r)
		time.Sleep(time.Hour) // nothing to do is no trouble
		for n := range 20 {   // more than there are workers
			if err := r.Publish(t.Context(), volume(n)); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if err := r.Alive(t.Context()); err != nil {
			t.Errorf("at first: %v", err)
		}
		time.Sleep(6 * time.Minute)
		if err := r.Alive(t.Context()); err == nil {
			t.Error("alive although nothing advances")
		}
		close(release)
		synctest.Wait()
		if err := r.Alive(t.Context()); err != nil {
			t.Errorf("after it went on: %v", err)
		}
	})
}

// A driver that stops before it has recorded what it mounted leaves that to the
// next one, which needs neither kubelet nor a provider for it. A record that was
// written is not written again.
func TestRecordsAreResumed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, start := newWorld(), time.Now()
		if err := w.volumes(t).Publish(t.Context(), volume(1)); err != nil { // and never runs
			t.Fatal(err)
		}
		w.mount = nil
		var recorded []rotation.Snapshot
		w.record = func(_ context.Context, s rotation.Snapshot) error {
			recorded = append(recorded, s)
			return nil
		}
		for restart := range 3 {
			r := w.volumes(t)
			if err := r.Scan(); err != nil {
				t.Fatal(err)
			}
			if got := counts(r); got[rotation.Unclaimed] != 1 || got[rotation.Mounted] != 0 {
				t.Errorf("restart %d: %+v", restart, got)
			}
			run(t, r)
			synctest.Wait()
			if len(recorded) != 1 {
				t.Fatalf("restart %d: recorded %d times", restart, len(recorded))
			}
			if err := r.Publish(t.Context(), volume(1)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if got := counts(r); got[rotation.Unclaimed] != 0 || got[rotation.Mounted] != 1 || got[rotation.Unrecorded] != 0 {
				t.Errorf("restart %d, announced: %+v", restart, got)
			}
		}
		want := rotation.Snapshot{
			Target: "/t/1", Volume: "csi-1", Pod: volume(1).Pod, Class: "c", Versions: []provider.Version{{ID: "a", Version: "1"}},
		}
		want.Changed = start
		want.Conditions = []rotation.Condition{{Type: rotation.Ready, OK: true, Reason: rotation.MountedReason, Since: start}}
		if diff := cmp.Diff([]rotation.Snapshot{want}, recorded); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Also a republish alone, without a scan, resumes.
func TestRepublishResumesTheRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		if err := w.volumes(t).Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		n := 0
		w.record = func(context.Context, rotation.Snapshot) error { n++; return nil }
		r := w.volumes(t)
		run(t, r)
		for range 3 {
			if err := r.Publish(t.Context(), volume(1)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if n != 1 {
			t.Errorf("recorded %d times", n)
		}
	})
}

func TestProviderIsToldOfAnUnmount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		if err := w.volumes(t).Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		r := w.volumes(t) // after a restart the volume knows whose it is
		if err := r.Scan(); err != nil {
			t.Fatal(err)
		}
		run(t, r)
		if err := r.Unpublish(t.Context(), "csi-1", "/t/1"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"acme csi-1"}, w.told); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if got := counts(r); len(got) != 0 {
			t.Errorf("%+v", got)
		}
	})
}

func TestMemoryHoldsNoSecret(t *testing.T) {
	t.Parallel()
	const canary = "c4n4ry"
	w := newWorld()
	v := volume(1)
	v.Secrets, v.Tokens = map[string]provider.Secret{"a": canary}, provider.Tokens{"a": {Value: canary}}
	w.mount = func(context.Context, string, *provider.Request) (*provider.Response, error) {
		resp := response()
		resp.Files[0].Contents = []byte(canary)
		for range 2000 { // more than fit
			resp.Versions = append(resp.Versions, provider.Version{ID: strings.Repeat("i", 40), Version: "1"})
		}
		return resp, nil
	}
	if err := w.volumes(t).Publish(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if memory := string(w.mounted["/t/1"].Memory); strings.Contains(memory, canary) || len(memory) > 1<<16 || len(memory) == 0 {
		t.Errorf("%d bytes: %.300s", len(memory), memory)
	}
	// Versions that did not fit are unknown: a record without any would be wrong.
	r := w.volumes(t)
	if err := r.Scan(); err != nil || counts(r)[rotation.Unrecorded] != 0 {
		t.Errorf("%+v, %v", counts(r), err)
	}
}

func TestClassChanged(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.class = func(string, string) (rotation.Class, error) {
		return rotation.Class{UID: "u", Generation: 2, Provider: "acme", Parameters: map[string]string{"role": "r"}}, nil
	}
	r := w.volumes(t)
	for n := range 3 {
		if err := r.Publish(t.Context(), volume(n)); err != nil {
			t.Fatal(err)
		}
	}
	class := rotation.ClassName{Namespace: "ns", Name: "c"}
	if diff := cmp.Diff([]rotation.ClassName{class}, r.Classes()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, step := range []struct {
		name       rotation.ClassName
		uid        string
		generation int64
		outdated   int
	}{
		{class, "u", 2, 0},
		{rotation.ClassName{Namespace: "other", Name: "c"}, "x", 9, 0},
		{class, "u", 3, 3},
		{class, "u", 2, 3}, // from a cache that lags behind
		{class, "new", 2, 3},
		{class, "", 0, 3},
	} {
		r.ClassChanged(step.name, rotation.Told{UID: step.uid, Generation: step.generation})
		if got := counts(r)[rotation.Outdated]; got != step.outdated {
			t.Errorf("%+v: %d outdated", step, got)
		}
	}
}

func TestTokensAreVerifiedBeforeUse(t *testing.T) {
	t.Parallel()
	w := newWorld()
	r := w.volumes(t)
	v := volume(1)
	forged := provider.Errorf(provider.Invalid, "forged")
	v.Verify = func(context.Context) error { return forged }
	if err := r.Publish(t.Context(), v); !errors.Is(err, forged) || w.count() != 0 {
		t.Errorf("first publish: %v", err)
	}
	if err := r.Publish(t.Context(), volume(1)); err != nil {
		t.Fatal(err)
	}
	if err := r.Publish(t.Context(), v); err != nil {
		t.Errorf("a mounted volume: %v", err)
	}
}

// What is noted beside a mounted volume does not disturb kubelet's repeats of it.
func TestRepublishDuringANote(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.slow = time.Minute
		r := w.volumes(t)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the record is written and being noted
		start := time.Now()
		if err := r.Publish(t.Context(), volume(1)); err != nil || time.Since(start) > 0 {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		time.Sleep(time.Hour)
	})
}

// Records give way to first publishes, for a while.
func TestRecordsGiveWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		var recorded []time.Duration
		start := time.Now()
		w.record = func(context.Context, rotation.Snapshot) error {
			recorded = append(recorded, time.Since(start))
			return nil
		}
		r := w.volumes(t)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		slow := volume(2)
		slow.Class = "slow"
		w.class = func(_, name string) (rotation.Class, error) {
			if name == "slow" {
				time.Sleep(10 * time.Second)
			}
			return rotation.Class{Provider: "acme", Parameters: map[string]string{"role": "r"}}, nil
		}
		go func() { _ = r.Publish(t.Context(), slow) }()
		synctest.Wait()
		if err := r.Publish(t.Context(), volume(3)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		want := []time.Duration{0, 250 * time.Millisecond, 10 * time.Second}
		if diff := cmp.Diff(want, recorded); diff != "" {
			t.Errorf("recorded after (-want +got):\n%s", diff)
		}
	})
}

// A volume that another driver mounted with overrides keeps its files, and an event
// tells once that its overrides no longer count.
func TestOverridesOfAMountedVolume(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.mounted["/t/1"] = rotation.Generation{}
		v := volume(1)
		v.Attributes = map[string]string{"role": "admin"}
		r := w.volumes(t)
		if err := r.Scan(); err != nil {
			t.Fatal(err)
		}
		run(t, r)
		for range 3 {
			if err := r.Publish(t.Context(), v); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(w.told) != 1 || !strings.HasPrefix(w.told[0], "p OverrideRefused secretproviderclass ns/c: ") || !strings.Contains(w.told[0], "but role would") {
			t.Errorf("told %q", w.told)
		}
	})
}
