//go:build attack

package attack

import (
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// TestAtOnce makes calls for one target while another is under way.
func TestAtOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, l *lane) {
		t.Run("two publishes", l.twoPublishes)
		t.Run("sixteen publishes", l.sixteenPublishes)
		t.Run("an unpublish stops a publish", l.unpublishStops)
		t.Run("republishes of a mounted volume", l.republishes)
	})
}

func (l *lane) codes(t *testing.T, n int, call func() error) []codes.Code {
	t.Helper()
	got := make([]codes.Code, n)
	var group sync.WaitGroup
	for i := range got {
		group.Go(func() { got[i] = status.Code(call()) })
	}
	group.Wait()
	slices.Sort(got)
	return got
}

func (l *lane) twoPublishes(t *testing.T) {
	l.slow(t, 300*time.Millisecond)
	v := l.volume()
	prepare(t, l, v)
	got := l.codes(t, 2, func() error { return l.driver.Publish(t.Context(), v) })
	if want := []codes.Code{codes.OK, codes.Aborted}; !slices.Equal(got, want) {
		t.Errorf("answers are %v, want %v", got, want)
	}
	l.slow(t, 0)
	l.is(t, v, stand.Whole)
	l.publish(t, v)
	l.unpublish(t, v)
}

func (l *lane) sixteenPublishes(t *testing.T) {
	for range 20 {
		v := l.volume()
		prepare(t, l, v)
		got := l.codes(t, 16, func() error { return l.driver.Publish(t.Context(), v) })
		for _, code := range got {
			if code != codes.OK && code != codes.Aborted {
				t.Errorf("an answer is %v", code)
			}
		}
		if got[0] != codes.OK {
			t.Errorf("answers are %v: one must be OK", got)
		}
		l.is(t, v, stand.Whole)
		l.unpublish(t, v)
	}
}

// A pod is deleted while its provider takes long.
func (l *lane) unpublishStops(t *testing.T) {
	l.slow(t, time.Minute)
	defer l.slow(t, 0)
	before, err := l.provider.Calls(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := l.volume()
	prepare(t, l, v)
	answer := make(chan error, 1)
	go func() { answer <- l.driver.Publish(t.Context(), v) }()
	for calls := before; calls == before; {
		if calls, err = l.provider.Calls(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	took, err := stand.Took(func() error { return l.driver.Unpublish(t.Context(), v) })
	if err != nil || took > 5*time.Second {
		t.Errorf("unpublish took %v: %v", took, err)
	}
	if err := <-answer; err == nil {
		t.Error("the publish that was stopped was answered with OK")
	}
	l.unpublish(t, v)
}

// A republish of a mounted volume fails for no reason, least of all because of what
// the driver does beside: it writes the record and notes that.
func (l *lane) republishes(t *testing.T) {
	for range 20 {
		v := l.volume()
		l.publish(t, v)
		for range 50 {
			if err := l.driver.Publish(t.Context(), v); err != nil {
				t.Errorf("republish: %v", err)
			}
		}
		l.unpublish(t, v)
		if t.Failed() {
			return
		}
	}
}
