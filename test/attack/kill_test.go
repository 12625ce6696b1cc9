//go:build attack

package attack

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/strongroom/strongroom/test/internal/stand"
	"github.com/strongroom/strongroom/test/internal/trace"
)

// callTimeout is for a call to a driver that is stopped at each of its system calls.
const callTimeout = 30 * time.Second

const (
	deletedMeanwhile = "publish, and the pod is deleted meanwhile"
	// rehearsals show which points there are.
	rehearsals = 2
	// tries are made to reach a point: a few calls are not made in every run.
	tries = 3
	// mostMissed is the part of the points on the volume that may not be reached: how often
	// it is looked at depends on the clock, and the machine. A few more than that may not.
	mostMissed = 5
	fewMissed  = 3
)

// window is the time between the start of a call and its answer, within which the
// driver is killed at every system call.
type window struct {
	name string
	// before brings a volume into the state in which the call is made.
	before func(t *testing.T, l *lane) stand.Volume
	call   func(ctx context.Context, l *lane, v stand.Volume) error
	// found looks at what the driver left behind when it was killed.
	found func(t *testing.T, l *lane, v stand.Volume, answered bool)
	// after repeats the call as kubelet does, and checks what it promises.
	after func(t *testing.T, l *lane, v stand.Volume)
	// since names calls: only what comes after the last of them is of interest.
	since []string
	// sample is how many points on the volume are attacked unless the run is a long one,
	// and as many elsewhere; 0 is all.
	sample int
}

// leaves is for found: the state after an answer with OK, and those in which the volume
// may be until the call is repeated.
func leaves(answered stand.State, between ...stand.State) func(*testing.T, *lane, stand.Volume, bool) {
	return func(t *testing.T, l *lane, v stand.Volume, ok bool) {
		t.Helper()
		if state := l.is(t, v, between...); ok && state != answered {
			t.Errorf("the call was answered with OK, and the volume is %q", state)
		}
	}
}

func windows() []window {
	publish := func(ctx context.Context, l *lane, v stand.Volume) error { return l.driver.Publish(ctx, v) }
	unpublish := func(ctx context.Context, l *lane, v stand.Volume) error { return l.driver.Unpublish(ctx, v) }
	// A record may be noted in the volume meanwhile; TestAtOnce is about that.
	insistent := func(ctx context.Context, l *lane, v stand.Volume) error {
		err := publish(ctx, l, v)
		for status.Code(err) == codes.Aborted {
			err = publish(ctx, l, v)
		}
		return err
	}
	mounted := func(t *testing.T, l *lane) stand.Volume {
		v := l.volume()
		l.publish(t, v)
		l.recorded(t, v)
		return v
	}
	wholeAgain := func(t *testing.T, l *lane, v stand.Volume) {
		l.publish(t, v)
		l.recorded(t, v)
		l.unpublish(t, v)
	}
	gone := func(t *testing.T, l *lane, v stand.Volume) { l.unpublish(t, v) }
	whole := leaves(stand.Whole, stand.Nothing, stand.Whole)
	return []window{
		{"publish", prepared, publish, whole, wholeAgain, nil, 0},
		{deletedMeanwhile, prepared, publish, whole, gone, nil, 0},
		{"publish over an empty tmpfs", unfilled, publish, leaves(stand.Whole, stand.Unfilled, stand.Whole), wholeAgain, nil, 0},
		{"republish", mounted, insistent, leaves(stand.Whole, stand.Whole), wholeAgain, nil, 0},
		{"unpublish", mounted, unpublish, leaves(stand.Nothing, stand.Nothing, stand.Whole), gone, nil, 0},
	}
}

func unfilled(t *testing.T, l *lane) stand.Volume {
	t.Helper()
	v := prepared(t, l)
	emptyMount(t, v.Target())
	return v
}

func prepared(t *testing.T, l *lane) stand.Volume {
	t.Helper()
	v := l.volume()
	prepare(t, l, v)
	return v
}

func prepare(t *testing.T, _ *lane, v stand.Volume) {
	t.Helper()
	if err := v.Prepare(); err != nil {
		t.Fatal(err)
	}
}

// TestEverySystemCall kills the driver at the entry and at the exit of every system
// call that it makes between a request and its answer, but for those of the Go
// runtime's own housekeeping.
func TestEverySystemCall(t *testing.T) {
	bothWays(t, func(t *testing.T, l *lane) {
		for _, w := range windows() {
			if w.name == deletedMeanwhile && os.Getenv("ATTACK_LONG") == "" {
				continue // TestRandomInstants does it for a sample
			}
			t.Run(w.name, func(t *testing.T) { w.attack(t, l) })
		}
	})
}

// attack finds out which points there are, and then kills the driver at each.
func (w window) attack(t *testing.T, l *lane) {
	if l.driver.Ended() { // in an earlier test that failed
		l.restart(t)
	}
	seen := w.rehearse(t, l)
	note := notes(t)
	var count tally
	for p, times := range seen {
		outcome := "not reached again:"
		reached := w.reach(t, l, p)
		if reached {
			outcome = "killed at"
		}
		note("%s: %s %s", w.name, outcome, p)
		if t.Failed() {
			t.Fatalf("stopped after %s", p)
		}
		count.add(reached, times == rehearsals && onVolume(p))
	}
	note("%s: %d points, killed at %d", w.name, len(seen), count.reached)
	if count.reached == 0 || count.missed > fewMissed+count.certain/mostMissed {
		t.Errorf("%d points were reached, and %d of %d on the volume were not, in %d tries each", count.reached, count.missed, count.certain, tries)
	}
}

// rehearse counts in how many runs a point was passed.
func (w window) rehearse(t *testing.T, l *lane) map[trace.Point]int {
	t.Helper()
	seen := map[trace.Point]int{}
	for range rehearsals {
		for _, p := range w.within(w.strike(t, l, func(trace.Point) bool { return false }).Points) {
			seen[p]++
		}
	}
	if w.sample > 0 && os.Getenv("ATTACK_LONG") == "" {
		sample(seen, w.sample)
	}
	return seen
}

// tally is of points: those at which the driver was killed, those on the volume that every
// rehearsal passed, and how many of the latter were missed.
type tally struct{ reached, certain, missed int }

func (c *tally) add(reached, certain bool) {
	if reached {
		c.reached++
	}
	if certain {
		c.certain++
	}
	if certain && !reached {
		c.missed++
	}
}

// within leaves out points that are of no interest.
func (w window) within(points []trace.Point) []trace.Point {
	for i, p := range slices.Backward(points) {
		if slices.Contains(w.since, p.Call) {
			return points[i:] // with its exit
		}
	}
	return points
}

// sample leaves out entries of calls on the volume, which find it as the exit before left
// it, and all but a few others; which, is another matter in each run.
func sample(seen map[trace.Point]int, size int) {
	kept := map[bool]int{}
	maps.DeleteFunc(seen, func(p trace.Point, _ int) bool {
		on := onVolume(p)
		switch {
		case slices.Contains([]string{"read(file)", "fcntl(file)", "close(file)"}, p.Call): // change nothing
			return true
		case on && !p.Exit:
			return true
		case on && changes(p):
			return false
		}
		kept[on]++
		return kept[on] > size
	})
}

// changes says whether a call on a volume is one that changes it: none of these is left
// out.
func changes(p trace.Point) bool {
	for _, part := range []string{"open", "stat", "getdents", "readlink", "getxattr", "pread", "fcntl", "close"} {
		if strings.Contains(p.Call, part) {
			return false
		}
	}
	return true
}

// reach kills the driver at a point.
func (w window) reach(t *testing.T, l *lane, p trace.Point) bool {
	t.Helper()
	for range tries {
		if w.strike(t, l, func(at trace.Point) bool { return at == p }).Killed {
			return true
		}
		if !onVolume(p) {
			break
		}
	}
	return false
}

// onVolume says whether a call works on a volume; the others are on connections and
// logs, and come in any number.
func onVolume(p trace.Point) bool {
	for _, part := range []string{"sock", "peer", "(log)", "nothing", "accept", "connect", "recvmsg", "sendmsg", "fcntl", "read(", "call "} {
		if strings.Contains(p.Call, part) {
			return false
		}
	}
	return true
}

// strike makes the call, with the driver killed at a point or after the answer, and
// then what kubelet does.
func (w window) strike(t *testing.T, l *lane, at func(trace.Point) bool) trace.Result {
	t.Helper()
	v := w.before(t, l)
	tracing, err := trace.Attach(l.driver.Pid, at)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), callTimeout)
	err = w.call(ctx, l, v)
	cancel()
	result := tracing.End()
	if result.Err != nil {
		t.Fatal(result.Err)
	}
	if err != nil && !result.Killed {
		t.Fatalf("%s: %v; the driver's log ends with\n%s", w.name, err, l.driver.Log())
	}
	w.found(t, l, v, err == nil)
	l.restart(t)
	w.after(t, l, v)
	return result
}

// notes returns a function that writes a line into the test's log, and into the file
// that ATTACK_LOG names.
func notes(t *testing.T) func(format string, args ...any) {
	t.Helper()
	name := os.Getenv("ATTACK_LOG")
	if name == "" {
		return t.Logf
	}
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	return func(format string, args ...any) {
		t.Helper()
		t.Logf(format, args...)
		fmt.Fprintf(file, t.Name()+": "+format+"\n", args...)
	}
}
