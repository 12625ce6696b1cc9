package coalesce

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// store counts its calls, which take a second each.
type store struct {
	calls    atomic.Int32
	ended    atomic.Int32 // by their context
	share    bool
	err      error
	panicked bool
}

func (s *store) call(ctx context.Context) (int, bool, error) {
	n := int(s.calls.Add(1))
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		s.ended.Add(1)
		return 0, s.share, ctx.Err()
	}
	if s.panicked {
		panic("s3cr3t")
	}
	return n, s.share, s.err
}

func together(t *testing.T, n int, do func() (int, bool, error)) (values, owners map[int]int, errs []error) {
	t.Helper()
	var mu sync.Mutex
	var group sync.WaitGroup
	values, owners = map[int]int{}, map[int]int{}
	for range n {
		group.Go(func() {
			v, own, err := do()
			mu.Lock()
			defer mu.Unlock()
			if values[v]++; own {
				owners[v]++
			}
			if err != nil {
				errs = append(errs, err)
			}
		})
	}
	group.Wait()
	return values, owners, errs
}

func TestDo(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		keep   time.Duration
		store  *store
		took   time.Duration // for 50 at once; 0 for what does not matter
		calls  int32
		later  int32 // calls once another one asked, right after that
		failed int
	}{
		"shared":          {store: &store{share: true}, took: time.Second, calls: 1, later: 2},
		"shared and kept": {keep: 10 * time.Second, store: &store{share: true}, took: time.Second, calls: 1, later: 1},
		"private":         {store: &store{}, took: 2 * time.Second, calls: 50, later: 51},
		"private, kept":   {keep: 10 * time.Second, store: &store{}, took: 2 * time.Second, calls: 50, later: 51},
		"failing":         {keep: 10 * time.Second, store: &store{share: true, err: errors.New("x")}, took: time.Second, calls: 1, later: 2, failed: 50},
		"panicking":       {keep: 10 * time.Second, store: &store{share: true, panicked: true}, took: time.Second, calls: 1, later: 2, failed: 50},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := Calls[string, int]{Keep: tt.keep}
				s := tt.store
				begin := time.Now()
				do := func() (int, bool, error) { return c.Do(t.Context(), "k", time.Time{}, s.call) }
				values, owners, errs := together(t, 50, do)
				if took := time.Since(begin); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				if s.calls.Load() != tt.calls || len(errs) != tt.failed {
					t.Errorf("%d calls and %d errors, want %d and %d: %v", s.calls.Load(), len(errs), tt.calls, tt.failed, errs)
				}
				for v, n := range values {
					if len(errs) == 0 && (owners[v] != 1 || !s.share && n != 1) {
						t.Errorf("%d have the value %d, %d of them as their own", n, v, owners[v])
					}
				}
				_, _, _ = do()
				if s.calls.Load() != tt.later {
					t.Errorf("%d calls after another one, want %d", s.calls.Load(), tt.later)
				}
				time.Sleep(time.Minute)
				c.mu.Lock()
				defer c.mu.Unlock()
				if len(c.calls) != 0 {
					t.Errorf("%d keys are left", len(c.calls))
				}
			})
		})
	}
}

// TestPanicOfOneAlone: also who makes a call of his own gets an error.
func TestPanicOfOneAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := Calls[string, int]{Keep: time.Minute}
		private := &store{}
		_, _, _ = c.Do(t.Context(), "k", time.Time{}, private.call)
		_, own, err := c.Do(t.Context(), "k", time.Time{}, (&store{panicked: true}).call)
		if !own || provider.KindOf(err) != provider.Internal || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("own %v, error %v", own, err)
		}
	})
}

func TestNotBefore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := Calls[string, int]{Keep: 10 * time.Second}
		s := &store{share: true}
		do := func(notBefore time.Time) int {
			v, _, err := c.Do(t.Context(), "k", notBefore, s.call)
			if err != nil {
				t.Error(err)
			}
			return v
		}
		begin := time.Now()
		if v := do(begin); v != 1 {
			t.Errorf("value %d", v)
		}
		if v := do(begin); v != 1 {
			t.Errorf("a value that is new enough is not used: %d", v)
		}
		if v := do(begin.Add(1)); v != 2 {
			t.Errorf("a value that is too old is used: %d", v)
		}
		// One under way that began too early goes on for those that wait for it.
		var group sync.WaitGroup
		time.Sleep(10 * time.Second)
		group.Go(func() {
			if v := do(time.Time{}); v != 3 {
				t.Errorf("value %d", v)
			}
		})
		time.Sleep(time.Millisecond)
		for range 5 {
			group.Go(func() {
				if v := do(time.Now()); v != 4 {
					t.Errorf("value %d", v)
				}
			})
		}
		group.Wait()
		if n := s.ended.Load(); n != 0 {
			t.Errorf("%d calls were ended", n)
		}
	})
}

// TestLeaving: each keeps to his own deadline; a call ends when the last has left.
func TestLeaving(t *testing.T) {
	t.Parallel()
	for _, stays := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c := Calls[string, int]{Keep: time.Minute}
			s := &store{share: true}
			var group sync.WaitGroup
			for i := range 5 {
				group.Go(func() {
					wait := time.Duration(i+1) * 100 * time.Millisecond
					ctx, cancel := context.WithTimeout(t.Context(), wait)
					defer cancel()
					begin := time.Now()
					if _, _, err := c.Do(ctx, "k", time.Time{}, s.call); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != wait {
						t.Errorf("after %v of %v: %v", time.Since(begin), wait, err)
					}
				})
			}
			if stays {
				if v, _, err := c.Do(t.Context(), "k", time.Time{}, s.call); v != 1 || err != nil {
					t.Errorf("value %d, %v", v, err)
				}
			}
			group.Wait()
			synctest.Wait()
			if ended := s.ended.Load() == 1; ended == stays {
				t.Errorf("the call was ended: %v", ended)
			}
			if v, _, err := c.Do(t.Context(), "k", time.Time{}, s.call); err != nil || v == 1 != stays {
				t.Errorf("later: value %d, %v", v, err)
			}
		})
	}
}
