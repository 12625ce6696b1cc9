package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/provider/providertest/witness"

	"github.com/strongroom/strongroom/test/soak/internal/testimony"
)

// TestBearable: what a driver asked for is, also if the machine was so busy before that it
// asked for less then; a storm is not.
func TestBearable(t *testing.T) {
	t.Parallel()
	for _, usual := range []int{0, 100, 216} {
		if bound := bearable(usual, 10, 12*time.Second); bound < 310 || bound > 1000 {
			t.Errorf("with %d before, %d are bearable", usual, bound)
		}
	}
	if bound := bearable(830, 20, 30*time.Second); bound < 1122 || bound > 3000 {
		t.Errorf("with 830 before, %d are bearable", bound)
	}
}

// TestWithout: a volume that rotates late rotates; one that does not before the API server
// is back does not.
func TestWithout(t *testing.T) {
	t.Parallel()
	for what, after := range map[string]time.Duration{
		"in time": 6 * time.Second, "late": 20 * time.Second, "too late": 2 * time.Minute, "only what had begun before": -1,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				s := &soak{options: options{absent: 12 * time.Second}, nodes: []node{{name: "node-1", lib: dir}}, uids: map[string]bool{"u": true}}
				if err := os.Mkdir(s.nodes[0].reports(), 0o700); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second) // generations do not begin when the outage does
				report(t, s)
				begin := time.Now()
				err := s.without(t.Context(), begin, func(gone context.Context) error {
					wait(gone, after)
					if gone.Err() == nil && after > 0 {
						report(t, s)
					}
					<-gone.Done()
					return nil
				})
				took := time.Since(begin)
				if rotates := what == "in time" || what == "late"; rotates != (err == nil) || took < s.absent || took > s.absent+5*interval {
					t.Errorf("after %s: %v", took, err)
				}
			})
		})
	}
}

// TestAwayFails: then nobody waits for anything.
func TestAwayFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &soak{options: options{absent: time.Hour}}
		begin := time.Now()
		err := s.without(t.Context(), begin, func(context.Context) error { return errors.New("no such process") })
		if err == nil || !strings.Contains(err.Error(), "no such process") || time.Since(begin) > 0 {
			t.Errorf("after %s: %v", time.Since(begin), err)
		}
	})
}

// report says that a volume has the generation of now.
func report(t *testing.T, s *soak) {
	t.Helper()
	claim := witness.At(time.Now(), interval, "shop/web", "u")
	r := testimony.Report{Pod: claim.Pod, UID: claim.UID, Generation: claim.Generation}
	if err := r.Write(s.nodes[0].reports()); err != nil {
		t.Error(err)
	}
}
