package main

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strongroom/strongroom/test/internal/ground/step"
)

// TestDeck draws everything once before anything twice.
func TestDeck(t *testing.T) {
	t.Parallel()
	s := &soak{}
	s.seeded(1)
	d := s.deaths()
	all := len(d.all)
	drawn := map[string]bool{}
	for left := all; left > 0; left-- {
		if d.owed() != left {
			t.Fatalf("owes %d, want %d", d.owed(), left)
		}
		drawn[d.draw(s).name] = true
	}
	for _, f := range d.all {
		if !drawn[f.name] {
			t.Errorf("never: %s", f.name)
		}
	}
	d.draw(s)
	if d.owed() != 0 {
		t.Errorf("owes %d in the second round", d.owed())
	}
}

// TestAMinuteIsEnough: even with the longest pauses, all deaths fit into a minute.
func TestAMinuteIsEnough(t *testing.T) {
	t.Parallel()
	s := &soak{options: options{lasts: time.Minute}}
	if took := s.scaled(15*time.Second, 15*time.Second, 1) + time.Duration(len(s.deaths().all))*s.calm(1) + s.absence(1); took > s.lasts-10*time.Second {
		t.Errorf("they take %s", took)
	}
}

// TestOwedDeaths: all are done, also if each takes as long as an API call can, and the
// first ones fail; but not for ever.
func TestOwedDeaths(t *testing.T) {
	t.Parallel()
	for what, fails := range map[string]int{"slow": 2, "never": 1 << 30} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &soak{options: options{lasts: time.Minute}, nodes: []node{{name: "node-1"}}, log: step.New(io.Discard)}
				s.seeded(1)
				deaths, lapses := s.deaths(), s.lapses()
				left := fails
				slow := func(ctx context.Context, _ node) error {
					wait(ctx, 10*time.Second)
					if left--; left >= 0 {
						return context.DeadlineExceeded
					}
					return ctx.Err()
				}
				for _, d := range []*deck{deaths, lapses} {
					for n := range d.all {
						d.all[n].do = slow
					}
				}
				begin := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 2*s.lasts)
				defer cancel()
				s.inTurn(ctx, deaths, lapses)
				if took, done := time.Since(begin), deaths.owed() == 0; took <= s.lasts || took > 2*s.lasts || done != (what == "slow") {
					t.Errorf("after %s %d deaths are owed", took, deaths.owed())
				}
			})
		})
	}
}
