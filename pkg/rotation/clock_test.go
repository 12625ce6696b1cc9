package rotation

import (
	"fmt"
	"testing"
	"time"
	"unsafe"
)

// jumped is the same instant, read when the wall clock had been set by so much, in whole
// seconds. The package time has no way to say that: its monotonic clock stays as it is.
func jumped(at time.Time, by time.Duration) time.Time {
	const hasMonotonic, secondShift = 1 << 63, 30 // as in time.Time
	wall := (*uint64)(unsafe.Pointer(&at))
	if *wall&hasMonotonic == 0 {
		return at.Add(by)
	}
	*wall = uint64(int64(*wall) + int64(by/time.Second)<<secondShift)
	return at
}

func TestJumped(t *testing.T) {
	t.Parallel()
	before := time.Now()
	for _, by := range []time.Duration{year, -year, time.Second} {
		after := jumped(before.Add(time.Minute), by)
		if after.Sub(before) != time.Minute || after.Round(0).Sub(before.Round(0)) != time.Minute+by {
			t.Errorf("%v later is %v after %v", by, after, before)
		}
	}
}

const year = 365 * 24 * time.Hour

// TestClockJumps: the wall clock is set by a year, or back, while 200 volumes are
// refreshed, half of which an earlier process mounted. Each goes on being refreshed once
// in an interval, none of them counts as stale, and there are no more at a time than ever.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"by a year": year, "back by a year": -year, "by an hour": time.Hour, "back by an hour": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			calm, peak := countJumps(t, 0), countJumps(t, by)
			// The runs begin at other fractions of a second, so an account or two can be
			// counted in the second beside theirs.
			if peak > calm+2*manyVolumes/manyAccounts {
				t.Errorf("%d volumes were refreshed within a second, without a jump %d", peak, calm)
			}
		})
	}
}

// countJumps returns the most refreshes within a second.
func countJumps(t *testing.T, by time.Duration) (peak int) {
	t.Helper()
	const steps = 1000 // seconds, of intervals of 100
	s := newSchedule(100*time.Second, "n1", func(time.Duration) time.Duration { return 0 })
	start, set := time.Now(), time.Duration(0)
	many := newMany(s, start)
	var counts [steps / 100]int
	for step := range steps {
		if step == 50 || step == 450 {
			set = by - set // there, and back again
		}
		now := jumped(start.Add(time.Duration(step)*time.Second), set)
		n := many.refresh(now)
		counts[step/100] += n
		peak = max(peak, n)
		if target := many.stale(now); target != "" {
			t.Fatalf("after %d s %s is stale since %v, at %v", step, target, s.staleAt(target), now)
		}
	}
	for n, count := range counts[1:] {
		if count < manyVolumes*8/10 || count > manyVolumes*12/10 {
			t.Errorf("%d refreshes in interval %d, of %d volumes", count, n+1, manyVolumes)
		}
	}
	return peak
}

const manyVolumes, manyAccounts = 200, 20

// many are volumes of a few accounts.
type many struct {
	*schedule

	plans map[string]plan
}

func newMany(s *schedule, start time.Time) many {
	m := many{s, map[string]plan{}}
	for n := range manyVolumes {
		p := plan{provider: "acme", class: ClassName{"ns", "c"}, account: fmt.Sprint("account-", n%manyAccounts), fetched: start}
		if n%2 == 0 { // as it is read from a volume after a restart
			p.fetched = start.Round(0)
		}
		m.plans[fmt.Sprint("/t/", n)] = p
		s.put(start, fmt.Sprint("/t/", n), p)
	}
	return m
}

// refresh has all refreshes that are due succeed, and counts them.
func (m many) refresh(now time.Time) (n int) {
	for jobs := m.due(now); len(jobs) > 0; jobs = m.due(now) {
		for _, j := range jobs {
			p := m.plans[j.target]
			p.fetched = now
			m.succeed(now, j.target, p)
			n++
		}
	}
	return n
}

// stale names a volume that counts as stale, if there is one.
func (m many) stale(now time.Time) string {
	for target := range m.plans {
		if now.After(m.staleAt(target)) {
			return target
		}
	}
	return ""
}
