package rotation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/strongroom/strongroom/provider"
)

// FuzzMemory has a volume remember anything: the driver starts nevertheless, and what it
// makes of it does not change when it is written and read again.
func FuzzMemory(f *testing.F) {
	f.Add([]byte(`{"volume":"csi-1","pod":{"name":"p","namespace":"ns"},"class":"c","provider":"v","fetched":"2026-01-02T03:04:05Z","due":"2026-01-02T04:04:05Z","interval":60000000000}`))
	f.Add([]byte(`{"versions":[{"id":"a","version":"1"}],"ready":{"type":"Ready","ok":true},"recorded":true,"secrets":["s"],"unfilled":true}`))
	f.Add([]byte(`{"fetched":"9999-12-31T23:59:59Z","due":"0001-01-01T00:00:00Z","interval":-9223372036854775808}`))
	f.Add([]byte(`{"fetched":"0001-01-01T00:00:00Z","due":"9999-12-31T23:59:59Z","interval":9223372036854775807,"served":"9999-12-31T23:59:59Z"}`))
	f.Add([]byte(`{"never":true,"class":""}`))
	f.Add([]byte(`null`))
	f.Add([]byte(`[{}]`))
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text []byte) {
		m, ok := recall(Found{State: Complete, Memory: text})
		if !ok {
			return
		}
		_, _, _, _ = m.snapshot("/t"), m.read(), m.unsynced(), m.fillsLike(memory{})
		s := newSchedule(time.Minute, "node", func(d time.Duration) time.Duration { return d / 2 })
		s.put(now, "/t", m.plan())
		for _, at := range []time.Time{now, now.Add(time.Hour), now.AddDate(100, 0, 0)} {
			for _, j := range s.due(at) {
				s.fail(at, j.target, provider.Unavailable, 0)
			}
			_, _ = s.next(), s.lag(at)
		}
		s.succeed(now, "/t", m.plan())
		s.remove(now, "/t")
		again, err := m.encode()
		if err != nil {
			return // a time that no JSON can say
		}
		if next, ok := recall(Found{State: Complete, Memory: again}); len(again) <= maxMemory && !next.Truncated && (!ok || !cmp.Equal(next, m, cmpopts.EquateEmpty())) {
			t.Errorf("read again it is %+v, was %+v", next, m)
		}
	})
}
