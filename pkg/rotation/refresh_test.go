package rotation_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

const interval = 100 * time.Second

func rotating(cfg *rotation.Config) { cfg.Interval = interval }

// store is what a provider answers, and how often it was asked.
type store struct {
	mu       sync.Mutex
	value    string
	version  string
	err      error
	hint     time.Duration
	expires  time.Time
	stale    time.Time
	asked    int
	requests []*provider.Request
}

func (s *store) mount(_ context.Context, _ string, req *provider.Request) (*provider.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	s.requests = append(s.requests, req)
	if s.err != nil {
		return nil, s.err
	}
	return &provider.Response{
		Files:    []provider.File{{Path: "a", Contents: []byte(s.value)}},
		Versions: []provider.Version{{ID: "a", Version: s.version}},
		Refresh:  s.hint, Expires: s.expires, Stale: s.stale,
	}, nil
}

func (s *store) set(version string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value, s.version, s.err = "2", version, err
}

// serve makes its answers those of an earlier read, or not.
func (s *store) serve(read time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = read
}

func (s *store) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (w *world) content(target string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	files := w.mounted[target].Files
	if len(files) == 0 {
		return ""
	}
	return string(files[0].Contents)
}

// told fails the test unless exactly these were told: of each the beginning, and what
// it must contain.
func (w *world) wantNews(t *testing.T, want ...[2]string) {
	t.Helper()
	news := w.news()
	ok := len(news) == len(want)
	for i := 0; ok && i < len(news); i++ {
		ok = strings.HasPrefix(news[i], want[i][0]) && strings.Contains(news[i], want[i][1])
	}
	if !ok {
		t.Errorf("told %q, want %q", news, want)
	}
}

// wantRecord fails the test unless so many were recorded, the last with that condition.
func wantRecord(t *testing.T, recorded []rotation.Snapshot, n int, want rotation.Condition) {
	t.Helper()
	if len(recorded) != n {
		t.Fatalf("recorded %d times, want %d", len(recorded), n)
	}
	for _, c := range recorded[n-1].Conditions {
		if c.Type == want.Type {
			if c.OK != want.OK || want.Reason != rotation.Unreasoned && c.Reason != want.Reason {
				t.Errorf("recorded %+v, want %+v", c, want)
			}
			return
		}
	}
	t.Errorf("recorded no condition %s", want.Type)
}

func (w *world) news() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.told)
}

// records notes what was recorded.
func (w *world) records() func() []rotation.Snapshot {
	var mu sync.Mutex
	var all []rotation.Snapshot
	w.record = func(_ context.Context, s rotation.Snapshot) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, s)
		return nil
	}
	return func() []rotation.Snapshot {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// A volume gets what is new after an interval; what did not change is not recorded.
func TestRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		w.mount = s.mount
		recorded := w.records()
		classes := atomic.Int32{}
		get := w.class
		w.class = func(namespace, name string) (rotation.Class, error) { classes.Add(1); return get(namespace, name) }
		r := w.volumes(t, rotating)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * interval)
		if n := s.calls(); n < 5 || n > 6 {
			t.Errorf("%d calls in 5 intervals", n)
		}
		if n := len(recorded()); n != 1 {
			t.Errorf("recorded %d times although nothing changed", n)
		}
		if n := classes.Load(); n != 1 {
			t.Errorf("the class was read %d times", n)
		}
		s.set("v2", nil)
		time.Sleep(2 * interval)
		if got := w.content("/t/1"); got != "2" {
			t.Errorf("content %q", got)
		}
		all := recorded()
		if len(all) != 2 || all[1].Versions[0].Version != "v2" || !all[1].Known {
			t.Errorf("recorded %+v", all)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if last := s.requests[len(s.requests)-1]; len(last.Current) != 1 || last.Current[0].Version != "v2" {
			t.Errorf("the provider was told of %v", last.Current)
		}
	})
}

func TestRotationOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1", hint: time.Minute}
		w.mount = s.mount
		r := w.volumes(t)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		r.ClassChanged(rotation.ClassName{Namespace: "ns", Name: "c"}, rotation.Told{UID: "new", Refresh: "now"})
		time.Sleep(24 * time.Hour)
		if n := s.calls(); n != 1 {
			t.Errorf("%d calls", n)
		}
	})
}

// P2, P9: nothing that fails takes files away, and what lasts is seen within a minute
// after two intervals, be it one volume among many.
func TestFailingRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		bad := provider.At(provider.LoggingIn, provider.Errorf(provider.Denied, "permission denied"))
		broken := atomic.Bool{}
		w.mount = func(ctx context.Context, name string, req *provider.Request) (*provider.Response, error) {
			if broken.Load() && req.Volume == "csi-7" {
				return nil, bad
			}
			return s.mount(ctx, name, req)
		}
		recorded := w.records()
		r := w.volumes(t, rotating)
		run(t, r)
		for n := range 50 {
			if err := r.Publish(t.Context(), volume(n)); err != nil {
				t.Fatal(err)
			}
		}
		broken.Store(true)
		time.Sleep(2*interval + time.Minute)
		states := r.Report().States
		if got := states[rotation.Stale]; got.Count != 1 || got.Oldest < 2*interval || states[rotation.Failing].Count != 1 {
			t.Errorf("%+v", states)
		}
		if got := w.content("/t/7"); got != "1" {
			t.Errorf("content %q", got)
		}
		wantRecord(t, recorded(), 51, rotation.Condition{Type: rotation.Ready, Reason: rotation.LoginFailed})
		w.wantNews(t, [2]string{"p LoginFailed secretproviderclass ns/c: the store refuses the login: ", "; 1 of 50 volumes on node  is not refreshed, its files stay as they are: permission denied"})
		broken.Store(false)
		time.Sleep(2 * interval)
		wantRecord(t, recorded(), 52, rotation.Condition{Type: rotation.Ready, OK: true})
		w.wantNews(t, [2]string{"p LoginFailed"}, [2]string{"secretproviderclass ns/c Refreshed", "refreshed again"})
		if got := counts(r); got[rotation.Stale]+got[rotation.Failing] != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// A store that is down is asked by one volume for all, and told of once, with a count.
func TestStoreDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		w.mount = s.mount
		r := w.volumes(t, rotating)
		run(t, r)
		for n := range 50 {
			if err := r.Publish(t.Context(), volume(n)); err != nil {
				t.Fatal(err)
			}
		}
		before := s.calls()
		s.set("v2", provider.Errorf(provider.Unavailable, "connection refused"))
		time.Sleep(10*time.Minute + interval)
		if n := s.calls() - before; n > 25 {
			t.Errorf("%d calls of a store that is down", n)
		}
		w.wantNews(t, [2]string{"secretproviderclass ns/c StoreUnavailable", "connection refused"})
		s.set("v2", nil)
		time.Sleep(3 * time.Minute)
		for n := range 50 {
			if got := w.content(fmt.Sprint("/t/", n)); got != "2" {
				t.Fatalf("volume %d has %q", n, got)
			}
		}
	})
}

// Tokens that expired are not used; the volume goes on when kubelet brings fresh ones.
func TestExpiredTokens(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		w.mount = s.mount
		r := w.volumes(t, rotating)
		run(t, r)
		v := volume(1)
		v.Tokens = provider.Tokens{"vault": {Value: "t", Expires: time.Now().Add(10 * time.Second)}}
		if err := r.Publish(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * interval)
		if n := s.calls(); n != 1 {
			t.Errorf("%d calls with expired tokens", n)
		}
		if got := counts(r); got[rotation.Tokenless] != 1 || got[rotation.Stale] != 1 {
			t.Errorf("%+v", got)
		}
		if news := w.news(); len(news) != 1 || !strings.HasPrefix(news[0], "p TokensExpired ") {
			t.Errorf("told %q", news)
		}
		v.Tokens = provider.Tokens{"vault": {Value: "t", Expires: time.Now().Add(time.Hour)}}
		if err := r.Publish(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := s.calls(); n != 2 {
			t.Errorf("%d calls after fresh tokens came", n)
		}
	})
}

// A new process refreshes nothing before its time, and nothing that kubelet did not
// announce.
func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1", hint: 30 * time.Minute}
		w.mount = s.mount
		hourly := func(cfg *rotation.Config) { cfg.Interval = time.Hour }
		if err := w.volumes(t, hourly).Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		r := w.volumes(t, hourly)
		if err := r.Scan(); err != nil {
			t.Fatal(err)
		}
		run(t, r)
		time.Sleep(19 * time.Minute)
		if n := s.calls(); n != 1 {
			t.Errorf("%d calls before the lease is over", n)
		}
		time.Sleep(2 * time.Minute)
		if n := s.calls(); n != 1 {
			t.Errorf("%d calls for a volume that nobody announced", n)
		}
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := s.calls(); n != 2 {
			t.Errorf("%d calls after it was announced", n)
		}
	})
}

// A volume that kubelet does not announce to a new process is stale for that reason.
func TestNotAnnounced(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		if err := w.volumes(t, rotating).Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		recorded := w.records()
		r := w.volumes(t, rotating)
		if err := r.Scan(); err != nil {
			t.Fatal(err)
		}
		run(t, r)
		time.Sleep(2*interval + time.Minute)
		w.wantNews(t, [2]string{"p NotAnnounced"})
		all := recorded()
		wantRecord(t, all, len(all), rotation.Condition{Type: rotation.Ready, Reason: rotation.NotAnnounced})
	})
}

// edited is a class that a test edits while volumes use it.
type edited struct {
	mu    sync.Mutex
	class rotation.Class
}

func (e *edited) get(string, string) (rotation.Class, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.class.UID == "" {
		return e.class, provider.Errorf(provider.NotFound, "no such class")
	}
	return e.class, nil
}

// edit changes the class, and tells r.
func (e *edited) edit(r *rotation.Volumes, do func(c *rotation.Class)) {
	e.mu.Lock()
	do(&e.class)
	told := rotation.Told{UID: e.class.UID, Generation: e.class.Generation, Refresh: e.class.Refresh}
	e.mu.Unlock()
	r.ClassChanged(rotation.ClassName{Namespace: "ns", Name: "c"}, told)
}

// An edited class and the refresh annotation count at once, or as good as that.
func TestClassRefresh(t *testing.T) {
	t.Parallel()
	steps := []struct {
		what  string
		edit  func(*rotation.Class)
		after time.Duration
		calls int
	}{
		{"edited", func(c *rotation.Class) { c.Generation, c.Parameters = 2, map[string]string{"role": "other"} }, 0, 2},
		{"forced", func(c *rotation.Class) { c.Refresh = "1" }, 0, 3},
		{"told again", func(*rotation.Class) {}, 0, 3},
		{"annotation removed", func(c *rotation.Class) { c.Refresh = "" }, 0, 3},
		{"never", func(c *rotation.Class) { c.Generation, c.Never = 3, true }, 10 * time.Hour, 3},
		{"never, but forced", func(c *rotation.Class) { c.Refresh = "2" }, 0, 4},
		{"periodic again", func(c *rotation.Class) { c.Generation, c.Never = 4, false }, 0, 5},
	}
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		e := &edited{class: rotation.Class{UID: "u", Generation: 1, Provider: "acme", Parameters: map[string]string{"role": "r"}, Interval: time.Hour}}
		w.mount, w.class = s.mount, e.get
		r := w.volumes(t, rotating)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		for _, step := range steps {
			began := time.Now()
			e.edit(r, step.edit)
			time.Sleep(31*time.Second + step.after)
			synctest.Wait()
			if n := s.calls(); n != step.calls {
				t.Errorf("%s: %d calls, want %d", step.what, n, step.calls)
			}
			if got := counts(r)[rotation.Outdated]; got != 0 && !e.class.Never {
				t.Errorf("%s: outdated", step.what)
			}
			last := s.requests[len(s.requests)-1]
			if strings.Contains(step.what, "forced") && !last.NotBefore.Equal(began) {
				t.Errorf("%s: not before %v", step.what, last.NotBefore)
			}
		}
		if got := s.requests[1].Parameters["role"]; got != "other" {
			t.Errorf("role %q", got)
		}
		// A class that is gone leaves what is mounted.
		e.edit(r, func(c *rotation.Class) { *c = rotation.Class{} })
		time.Sleep(2*time.Hour + time.Minute)
		if got := w.content("/t/1"); got != "1" || counts(r)[rotation.Stale] != 1 {
			t.Errorf("content %q, %v", got, counts(r))
		}
	})
}

// A class that changes while a volume is mounted from its older state is noticed.
func TestClassChangesDuringPublish(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		generation := atomic.Int64{}
		generation.Store(1)
		w.class = func(string, string) (rotation.Class, error) {
			return rotation.Class{UID: "u", Generation: generation.Load(), Provider: "acme", Parameters: map[string]string{"role": "r"}}, nil
		}
		var r *rotation.Volumes
		w.mount = func(ctx context.Context, name string, req *provider.Request) (*provider.Response, error) {
			if generation.CompareAndSwap(1, 2) {
				r.ClassChanged(rotation.ClassName{Namespace: "ns", Name: "c"}, rotation.Told{UID: "u", Generation: 2})
			}
			return s.mount(ctx, name, req)
		}
		r = w.volumes(t, rotating)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(interval / 2)
		if n := s.calls(); n != 2 || counts(r)[rotation.Outdated] != 0 {
			t.Errorf("%d calls, %v", n, counts(r))
		}
	})
}

// An unpublish stops a refresh that hangs, and a republish does not wait for it.
func TestRefreshHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		hang := atomic.Bool{}
		w.mount = func(ctx context.Context, name string, req *provider.Request) (*provider.Response, error) {
			if hang.Load() {
				<-ctx.Done()
				return nil, provider.Errorf(provider.Timeout, "gave up: %w", ctx.Err())
			}
			return s.mount(ctx, name, req)
		}
		r := w.volumes(t, rotating)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		hang.Store(true)
		time.Sleep(2 * interval)
		begin := time.Now()
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Error(err)
		}
		if err := r.Unpublish(t.Context(), "csi-1", "/t/1"); err != nil || w.count() != 0 {
			t.Errorf("%v, %d mounted", err, w.count())
		}
		if took := time.Since(begin); took > 0 {
			t.Errorf("took %v", took)
		}
		if slices.ContainsFunc(w.counted, func(s string) bool { return strings.HasPrefix(s, "refresh acme 3") }) {
			t.Errorf("an interrupted refresh was counted as failed: %q", w.counted)
		}
		time.Sleep(10 * interval)
		if w.count() != 0 {
			t.Error("a refresh mounted what was unpublished")
		}
	})
}

// What somebody else unmounted is not mounted by a refresh.
func TestRefreshOfAGoneMount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		w.mount = s.mount
		r := w.volumes(t, rotating)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		_ = w.Remove("/t/1")
		time.Sleep(2 * interval)
		if w.count() != 0 || s.calls() != 1 {
			t.Errorf("%d mounted, %d calls", w.count(), s.calls())
		}
	})
}

func TestSubPathIsToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.pinned = "/t/1"
		r := w.volumes(t, rotating)
		run(t, r)
		for n := range 2 {
			if err := r.Publish(t.Context(), volume(n)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * interval)
		if news := w.news(); len(news) != 1 || !strings.HasPrefix(news[0], "p SubPathNeverRefreshed ") {
			t.Errorf("told %q", news)
		}
	})
}

// What a provider renews is no news.
func TestExpiryOfALease(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1", expires: time.Now().Add(time.Hour), hint: 30 * time.Minute}
		w.mount = s.mount
		r := w.volumes(t, rotating)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Minute)
		w.wantNews(t)
	})
}

func TestExpiryIsToldOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		end := time.Now().Add(8 * 24 * time.Hour)
		w, s := newWorld(), &store{value: "1", version: "v1", expires: end}
		w.mount = s.mount
		r := w.volumes(t, func(cfg *rotation.Config) { cfg.Interval = time.Hour })
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		class := rotation.ClassName{Namespace: "ns", Name: "c"}
		if got := r.Report().Expiries[class]; !got.Equal(end) {
			t.Errorf("expires %v", got)
		}
		time.Sleep(23 * time.Hour)
		if news := w.news(); len(news) != 0 {
			t.Errorf("told %q", news)
		}
		time.Sleep(48 * time.Hour)
		if news := w.news(); len(news) != 1 || !strings.HasPrefix(news[0], "p ContentExpires ") {
			t.Errorf("told %q", news)
		}
	})
}

// Events come at one a second once ten were told.
func TestNoticesAreRateLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r := w.volumes(t)
		for n := range 30 {
			if err := r.Publish(t.Context(), volume(n)); err != nil {
				t.Fatal(err)
			}
		}
		r = w.volumes(t) // a process to which they are new
		run(t, r)
		for n := range 30 {
			v := volume(n)
			v.Attributes = map[string]string{"role": "mine"}
			if err := r.Publish(t.Context(), v); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := len(w.news()); n != 10 {
			t.Errorf("%d at once", n)
		}
		time.Sleep(5*time.Second + time.Millisecond)
		if n := len(w.news()); n != 15 {
			t.Errorf("%d after 5 s", n)
		}
	})
}

// secrets fills Secrets in memory.
type secrets struct {
	mu    sync.Mutex
	calls []string
	err   error
	again time.Duration
	slow  time.Duration

	fetched time.Time
}

func (s *secrets) Fill(ctx context.Context, c rotation.Copy) (time.Duration, error) {
	select {
	case <-time.After(s.slow):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched = c.Fetched
	s.calls = append(s.calls, fmt.Sprintf("%s %s repeat=%v", c.Object.Name, c.Files[0].Contents, c.Repeat))
	return s.again, s.err
}

func (s *secrets) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := s.calls
	s.calls = nil
	return calls
}

func (s *secrets) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func syncing(s *secrets, w *world) func(*rotation.Config) {
	w.class = func(string, string) (rotation.Class, error) {
		return rotation.Class{
			UID: "u", Generation: 1, Provider: "acme", Parameters: map[string]string{"role": "r"},
			Secrets: []rotation.SecretObject{{Name: "db", Type: "Opaque", Data: []rotation.SecretKey{{File: "a", Key: "k"}}}},
		}, nil
	}
	return func(cfg *rotation.Config) { cfg.Secrets, cfg.Interval = s, interval }
}

// The Secret is there before a publish answers, follows what changes, and is repeated
// once for all volumes that use it.
func TestSecretsAreFilled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, st, s := newWorld(), &store{value: "1", version: "v1"}, &secrets{again: 4 * time.Minute}
		w.mount = st.mount
		recorded := w.records()
		r := w.volumes(t, syncing(s, w))
		run(t, r)
		for n := range 3 {
			if err := r.Publish(t.Context(), volume(n)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"db 1 repeat=false"}, s.take()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		}
		synctest.Wait()
		wantRecord(t, recorded(), 3, rotation.Condition{Type: rotation.Synced, OK: true})
		time.Sleep(4*time.Minute + 2*time.Second)
		if diff := cmp.Diff([]string{"db 1 repeat=true"}, s.take()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		st.set("v1", nil) // a new value of the same version
		time.Sleep(interval + interval/5)
		if got := s.take(); !slices.Contains(got, "db 2 repeat=false") {
			t.Errorf("filled %q", got)
		}
		wantRecord(t, recorded(), 3, rotation.Condition{Type: rotation.Synced, OK: true})
		for n := range 3 {
			if err := r.Unpublish(t.Context(), "", fmt.Sprint("/t/", n)); err != nil {
				t.Fatal(err)
			}
		}
		s.take()
		time.Sleep(time.Hour)
		if got := s.take(); len(got) != 0 {
			t.Errorf("filled %q with no volume left", got)
		}
	})
}

// A publish waits five seconds for its Secrets and no longer; they come later.
func TestSlowSecrets(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &secrets{slow: 10 * time.Second, again: time.Hour}
		r := w.volumes(t, syncing(s, w))
		run(t, r)
		begin := time.Now()
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 5*time.Second {
			t.Errorf("took %v", took)
		}
		time.Sleep(15 * time.Second)
		if got := s.take(); len(got) != 1 {
			t.Errorf("filled %q", got)
		}
	})
}

// What a person must mend is told once, shows as a condition, and goes when it is mended.
func TestRefusedSecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &secrets{again: 5 * time.Minute}
		s.fail(&rotation.Refusal{Reason: rotation.SecretConflict, Err: errors.New("class other fills it")})
		recorded := w.records()
		r := w.volumes(t, syncing(s, w))
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		if n := len(s.take()); n < 4 || n > 6 {
			t.Errorf("tried %d times", n)
		}
		wantRecord(t, recorded(), 1, rotation.Condition{Type: rotation.Synced, Reason: rotation.SecretConflict})
		w.wantNews(t, [2]string{"p Conflict secret ns/db"})
		s.fail(nil)
		time.Sleep(10 * time.Minute)
		wantRecord(t, recorded(), 2, rotation.Condition{Type: rotation.Synced, OK: true})
		w.wantNews(t, [2]string{"p Conflict"}, [2]string{"", "secret ns/db is filled again"})
	})
}

// A process that was killed before it filled a Secret leaves that to the next one.
func TestSecretsAreResumed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &secrets{again: 5 * time.Minute}
		s.fail(errors.New("connection refused"))
		with := syncing(s, w)
		if err := w.volumes(t, with).Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		s.fail(nil)
		s.take()
		r := w.volumes(t, with)
		if err := r.Scan(); err != nil {
			t.Fatal(err)
		}
		run(t, r)
		time.Sleep(time.Second) // a note about the record may come first; then it is tried again
		if got := s.take(); !slices.Contains(got, "db 1 repeat=false") {
			t.Errorf("filled %q", got)
		}
		// One that is filled is repeated within five minutes, and not before.
		r = w.volumes(t, with)
		if err := r.Scan(); err != nil {
			t.Fatal(err)
		}
		run(t, r)
		synctest.Wait()
		if got := s.take(); len(got) != 0 {
			t.Errorf("filled %q needlessly", got)
		}
		time.Sleep(5*time.Minute + 2*time.Second)
		if got := s.take(); len(got) == 0 || got[0] != "db 1 repeat=true" {
			t.Errorf("filled %q", got)
		}
	})
}
