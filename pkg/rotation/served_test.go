package rotation_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/pkg/rotation"
)

// What a provider has kept while its store is down is delivered as any other content,
// told with its age, and told to be over.
func TestServedStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		w.mount = s.mount
		r := w.volumes(t, rotating)
		run(t, r)
		for n := range 3 {
			if err := r.Publish(t.Context(), volume(n)); err != nil {
				t.Fatal(err)
			}
		}
		read := time.Now()
		s.serve(read)
		s.set("v2", nil)
		time.Sleep(30 * time.Minute)
		if err := r.Publish(t.Context(), volume(3)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Minute)
		w.wantNews(t, [2]string{"secretproviderclass ns/c ServedStale secretproviderclass ns/c: ", "3 of 3 volumes on node  hold content that may be old, that of pod p: its store did not answer, and provider acme served what it had read at " + read.UTC().Format(time.RFC3339) + ", 1m"})
		if w.content("/t/1") != "2" || w.content("/t/3") != "2" {
			t.Errorf("content %q and %q", w.content("/t/1"), w.content("/t/3"))
		}
		if got := r.Report().States[rotation.Mounted]; got.Oldest < 54*time.Minute {
			t.Errorf("the oldest content is %v old", got.Oldest)
		}
		time.Sleep(10 * time.Minute)
		if news := w.news(); len(news) != 2 || !strings.Contains(news[1], "4 of 4 volumes") {
			t.Errorf("told %q, want a second one after an hour", news)
		}
		s.serve(time.Time{})
		time.Sleep(2 * interval)
		if news := w.news(); len(news) != 3 || !strings.Contains(news[2], "are refreshed again") {
			t.Errorf("told %q", news)
		}
		if got := w.served; got != 1 {
			t.Errorf("%d publishes served, want 1", got)
		}
	})
}

// With rotation off, one word is enough: nothing will change.
func TestServedStaleOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld(), &store{value: "1", version: "v1"}
		w.mount = s.mount
		s.serve(time.Now().Add(-time.Hour))
		r := w.volumes(t)
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(12 * time.Hour)
		w.wantNews(t, [2]string{"p ServedStale", ", 1h0m0s before"})
		if err := r.Unpublish(t.Context(), "", "/t/1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if news := w.news(); len(news) != 2 || news[1] != "acme csi-1" { // the provider is told that it is gone
			t.Errorf("told %q", news)
		}
	})
}

// A Secret is not filled with what is older than its content.
func TestServedStaleFillsWithItsAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, st, s := newWorld(), &store{value: "1", version: "v1"}, &secrets{again: time.Hour}
		w.mount = st.mount
		read := time.Now().Add(-time.Hour)
		st.serve(read)
		r := w.volumes(t, syncing(s, w))
		run(t, r)
		if err := r.Publish(t.Context(), volume(1)); err != nil {
			t.Fatal(err)
		}
		if !s.fetched.Equal(read) {
			t.Errorf("fetched %v, want %v", s.fetched, read)
		}
	})
}
