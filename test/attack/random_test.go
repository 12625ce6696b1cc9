//go:build attack

package attack

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// atOnce is how many volumes are worked on when the driver is killed.
const atOnce = 4

// TestRandomInstants kills the driver at a random instant, while it publishes some
// volumes and unpublishes others.
func TestRandomInstants(t *testing.T) {
	bothWays(t, func(t *testing.T, l *lane) {
		usual := l.usual(t)
		note := notes(t)
		kills := number(t, "ATTACK_RANDOM", 100)
		found := map[stand.State]int{}
		var old []stand.Volume // mounted in the round before
		for range kills {
			fresh := l.volumes(t, atOnce)
			leaving := old[:len(old)/2]
			after := rand.N(usual * 2)
			answered := l.storm(t, fresh, leaving, after)
			for _, v := range slices.Concat(fresh, leaving) {
				found[l.is(t, v, stand.Nothing, stand.Whole)]++
			}
			for _, v := range answered {
				l.is(t, v, stand.Whole)
			}
			l.restart(t)
			for _, v := range old[len(old)/2:] { // were there all the time
				l.is(t, v, stand.Whole)
			}
			l.settle(t, fresh, old)
			old = fresh[1:] // settle unpublished the first
			if t.Failed() {
				t.Fatalf("stopped after a kill %v after the first call", after)
			}
		}
		for _, v := range old {
			l.unpublish(t, v)
		}
		note("%d kills within %v of the first call; volumes found after them: %v", kills, usual*2, found)
	})
}

func (l *lane) volumes(t *testing.T, n int) []stand.Volume {
	t.Helper()
	volumes := make([]stand.Volume, n)
	for i := range volumes {
		volumes[i] = l.volume()
		prepare(t, l, volumes[i])
	}
	return volumes
}

// usual is how long it takes to publish volumes when nobody is killed.
func (l *lane) usual(t *testing.T) time.Duration {
	t.Helper()
	volumes := l.volumes(t, atOnce)
	begin := time.Now()
	for range volumes {
		l.storm(t, volumes, nil, 0)
	}
	took := time.Since(begin) / time.Duration(len(volumes))
	for _, v := range volumes {
		l.unpublish(t, v)
	}
	return max(took, time.Millisecond)
}

// storm makes calls for all volumes at once, and kills the driver after a while, or
// not at all. It returns those that were published with OK.
func (l *lane) storm(t *testing.T, publish, unpublish []stand.Volume, killAfter time.Duration) []stand.Volume {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	defer cancel()
	var group sync.WaitGroup
	oks := make([]bool, len(publish))
	for i, v := range publish {
		group.Go(func() { oks[i] = l.driver.Publish(ctx, v) == nil })
	}
	for _, v := range unpublish {
		group.Go(func() { _ = l.driver.Unpublish(ctx, v) })
	}
	if killAfter > 0 {
		time.Sleep(killAfter) // the instant is the point
		if err := l.driver.Kill(); err != nil {
			t.Fatal(err)
		}
	}
	group.Wait()
	var answered []stand.Volume
	for i, v := range publish {
		if oks[i] {
			answered = append(answered, v)
		}
	}
	return answered
}

// settle does what kubelet goes on to do: pods that are to run get their volume, but
// the first of them was deleted meanwhile, as those of the round before are.
func (l *lane) settle(t *testing.T, fresh, old []stand.Volume) {
	t.Helper()
	for _, v := range fresh[1:] {
		l.publish(t, v)
		l.recorded(t, v)
	}
	for _, v := range append(slices.Clone(old), fresh[0]) {
		l.unpublish(t, v)
	}
}
