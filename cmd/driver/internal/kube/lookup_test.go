package kube

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/pkg/rotation"
)

// A hundred that ask at once cost two requests, and nobody gets an answer to one
// that began before they asked.
func TestLookupsAreShared(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLookups()
		var requests, state atomic.Int64
		get := func(context.Context, rotation.ClassName) (rotation.Class, error) {
			requests.Add(1)
			begun := state.Load()
			time.Sleep(time.Second)
			return rotation.Class{Generation: begun}, t.Context().Err()
		}
		var group sync.WaitGroup
		for i := range 100 {
			if i == 50 {
				synctest.Wait() // the first request is under way
				state.Store(1)  // the class changes
			}
			group.Go(func() {
				asked := state.Load()
				class, err := l.do(t.Context(), rotation.ClassName{Name: "c"}, get)
				if err != nil || class.Generation < asked {
					t.Errorf("asked at %d, got %d, %v", asked, class.Generation, err)
				}
			})
		}
		group.Wait()
		if n := requests.Load(); n > 3 {
			t.Errorf("%d requests", n)
		}
		synctest.Wait()
		if len(l.next)+len(l.busy) != 0 {
			t.Error("something is kept")
		}
	})
}

func TestLookupHonoursTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLookups()
		get := func(context.Context, rotation.ClassName) (rotation.Class, error) {
			time.Sleep(time.Minute)
			return rotation.Class{}, nil
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.do(ctx, rotation.ClassName{}, get); err == nil {
			t.Error("no error")
		}
		if _, err := l.do(t.Context(), rotation.ClassName{}, get); err != nil {
			t.Errorf("the next one: %v", err)
		}
	})
}
