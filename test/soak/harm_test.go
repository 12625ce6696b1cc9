package main

import (
	"testing"
	"time"
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
