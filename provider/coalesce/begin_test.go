package coalesce_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/provider/coalesce"
)

// TestBegin: whoever asks while a call waits for its turn joins it, and what it brings
// is as old as its request.
func TestBegin(t *testing.T) {
	t.Parallel()
	for _, waits := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			calls, made := coalesce.Calls[string, int]{Keep: coalesce.Window, Waits: waits}, 0
			ask := func() {
				_, _, err := calls.Do(t.Context(), "k", coalesce.NotBefore(time.Time{}), func(ctx context.Context) (int, bool, error) {
					time.Sleep(3 * coalesce.Window)
					coalesce.Begin(ctx)
					made++
					return made, true, nil
				})
				if err != nil {
					t.Error(err)
				}
			}
			go ask()
			time.Sleep(2 * coalesce.Window) // too late for a request that was made at once
			ask()
			synctest.Wait()
			ask()
			if want := map[bool]int{false: 2, true: 1}[waits]; made != want {
				t.Errorf("waits %v: %d requests, want %d", waits, made, want)
			}
		})
	}
}
