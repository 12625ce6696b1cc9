package coalesce

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestFreshness(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		k := Known[string]{"new": now.Add(-time.Second), "old": now.Add(-time.Hour)}
		for name, tt := range map[string]struct {
			key    string
			forced time.Time
			want   time.Time
		}{
			"a first mount":               {key: "other", want: now.Add(-Window)},
			"known for long":              {key: "old", want: now.Add(-Window)},
			"known just now":              {key: "new", want: now.Add(-time.Second + 1)},
			"forced":                      {key: "old", forced: now.Add(-time.Millisecond), want: now.Add(-time.Millisecond)},
			"forced long ago":             {key: "old", forced: now.Add(-time.Minute), want: now.Add(-Window)},
			"forced before what is known": {key: "new", forced: now.Add(-2 * time.Second), want: now.Add(-time.Second + 1)},
		} {
			if got := k.NotBefore(tt.key, NotBefore(tt.forced)); !got.Equal(tt.want) {
				t.Errorf("%s: %v before now, want %v", name, now.Sub(got), now.Sub(tt.want))
			}
		}
	})
}
