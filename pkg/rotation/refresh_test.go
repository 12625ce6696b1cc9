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
		Refresh:  s.hint, Expires: s.expires,
	}, nil
}

func (s *store) set(value, version string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.value, s.version, s.err = value, version, err
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
		s.set("2", "v2", nil)
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
		if got := states[rotation.Stale]; got.Count != 1 || got.Oldest < 2*interval {
			t.Errorf("stale: %+v", got)
		}
		if got := states[rotation.Failing].Count; got != 1 {
			t.Errorf("%d failing", got)
		}
		if got := w.content("/t/7"); got != "1" {
			t.Errorf("content %q", got)
		}
		last := recorded()[len(recorded())-1]
		if len(recorded()) != 51 || last.Volume != "csi-7" || last.Conditions[0].OK || last.Conditions[0].Reason != "RefreshFailedLogin" {
			t.Errorf("%d records, last %+v", len(recorded()), last)
		}
		news := w.news()
		if len(news) != 1 || !strings.HasPrefix(news[0], "p RefreshFailedLogin 1 of 50 volumes") || !strings.Contains(news[0], "permission denied") {
			t.Errorf("told %q", news)
		}
		broken.Store(false)
		time.Sleep(2 * interval)
		last = recorded()[len(recorded())-1]
		if len(recorded()) != 52 || !last.Conditions[0].OK {
			t.Errorf("%d records, last %+v", len(recorded()), last)
		}
		if news := w.news(); len(news) != 2 || !strings.Contains(news[1], "refreshed again") {
			t.Errorf("told %q", news)
		}
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
		s.set("2", "v2", provider.Errorf(provider.Unavailable, "connection refused"))
		time.Sleep(10*time.Minute + interval)
		if n := s.calls() - before; n > 25 {
			t.Errorf("%d calls of a store that is down", n)
		}
		news := w.news()
		if len(news) != 1 || !strings.Contains(news[0], "of 50 volumes of secretproviderclass ns/c") || !strings.Contains(news[0], "connection refused") {
			t.Errorf("told %q", news)
		}
		s.set("2", "v2", nil)
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
		if err := w.volumes(t, rotating).Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		r := w.volumes(t, rotating)
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

// An edited class and the refresh annotation count at once, or as good as that.
func TestClassRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		w.mount = s.mount
		class := rotation.Class{UID: "u", Generation: 1, Provider: "acme", Parameters: map[string]string{"role": "r"}, Interval: time.Hour}
		var mu sync.Mutex
		w.class = func(string, string) (rotation.Class, error) {
			mu.Lock()
			defer mu.Unlock()
			if class.UID == "" {
				return class, provider.Errorf(provider.NotFound, "no such class")
			}
			return class, nil
		}
		edit := func(r *rotation.Volumes, do func()) {
			mu.Lock()
			do()
			told := rotation.Told{UID: class.UID, Generation: class.Generation, Refresh: class.Refresh}
			mu.Unlock()
			r.ClassChanged(rotation.ClassName{Namespace: "ns", Name: "c"}, told)
		}
		r := w.volumes(t, rotating)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		expect := func(what string, calls int) {
			t.Helper()
			time.Sleep(31 * time.Second)
			synctest.Wait()
			if n := s.calls(); n != calls {
				t.Errorf("%s: %d calls, want %d", what, n, calls)
			}
			if got := counts(r)[rotation.Outdated]; got != 0 && !class.Never {
				t.Errorf("%s: outdated", what)
			}
		}
		edit(r, func() { class.Generation, class.Parameters = 2, map[string]string{"role": "other"} })
		expect("edited", 2)
		if got := s.requests[1].Parameters["role"]; got != "other" {
			t.Errorf("role %q", got)
		}
		forcedAt := time.Now()
		edit(r, func() { class.Refresh = "1" })
		expect("forced", 3)
		if got := s.requests[2].NotBefore; !got.Equal(forcedAt) {
			t.Errorf("not before %v", got)
		}
		edit(r, func() {})
		expect("told again", 3)
		edit(r, func() { class.Generation, class.Never = 3, true })
		expect("never", 3)
		time.Sleep(10 * time.Hour)
		expect("never, hours later", 3)
		edit(r, func() { class.Refresh = "2" })
		expect("never, but forced", 4)
		edit(r, func() { class.Generation, class.Never = 4, false })
		expect("periodic again", 5)
		// A class that is gone leaves what is mounted.
		edit(r, func() { class = rotation.Class{} })
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
}

func (s *secrets) Fill(ctx context.Context, c rotation.Copy) (time.Duration, error) {
	select {
	case <-time.After(s.slow):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
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
		if all := recorded(); len(all) != 3 || len(all[0].Conditions) != 2 || !all[0].Conditions[1].OK {
			t.Errorf("recorded %+v", all)
		}
		time.Sleep(4*time.Minute + 2*time.Second)
		if diff := cmp.Diff([]string{"db 1 repeat=true"}, s.take()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		st.set("2", "v1", nil) // a new value of the same version
		time.Sleep(interval + interval/5)
		if got := s.take(); !slices.Contains(got, "db 2 repeat=false") {
			t.Errorf("filled %q", got)
		}
		if n := len(recorded()); n != 3 {
			t.Errorf("recorded %d times", n)
		}
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
		if all := recorded(); len(all) != 1 || all[0].Conditions[1].OK || all[0].Conditions[1].Reason != rotation.SecretConflict {
			t.Errorf("recorded %+v", all)
		}
		if news := w.news(); len(news) != 1 || !strings.HasPrefix(news[0], "p Conflict secret ns/db") {
			t.Errorf("told %q", news)
		}
		s.fail(nil)
		time.Sleep(10 * time.Minute)
		if all := recorded(); len(all) != 2 || !all[1].Conditions[1].OK {
			t.Errorf("recorded %+v", all)
		}
		if news := w.news(); len(news) != 2 || !strings.Contains(news[1], "secret ns/db is filled again") {
			t.Errorf("told %q", news)
		}
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
		synctest.Wait()
		if diff := cmp.Diff([]string{"db 1 repeat=false"}, s.take()); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
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
