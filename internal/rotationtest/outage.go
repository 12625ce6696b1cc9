package rotationtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/pkg/rotation"
)

// Requests are those that a store saw, by their times.
type Requests struct {
	mu  sync.Mutex
	all []time.Time
}

// Seen notes a request.
func (r *Requests) Seen() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, time.Now())
}

// Between counts the requests from begin until before end.
func (r *Requests) Between(begin, end time.Time) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, at := range r.all {
		if !at.Before(begin) && at.Before(end) {
			n++
		}
	}
	return n
}

// Peak is the most requests within a second, from begin on.
func (r *Requests) Peak(begin time.Time) (most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, from := range r.all {
		n := 0
		for _, at := range r.all[i:] {
			if at.Sub(from) < time.Second {
				n++
			}
		}
		if !from.Before(begin) {
			most = max(most, n)
		}
	}
	return most
}

// The volumes of an outage are those of so many identities. Some are mounted when it
// begins; others are of pods that come late, meanwhile, and which kubelet tries again and
// again.
const (
	Identities = 10
	mounted    = 50
	late       = 5
)

// Outage is a time in which a store is of no use.
type Outage struct {
	*Node

	// VolumeOf returns the volume of a pod.
	VolumeOf func(identity int, uid string) rotation.Volume
	Requests *Requests
	// Begin is called when all is well; from then on the store has something new, and does
	// not give it. End ends that.
	Begin, End func()
	Lasts      time.Duration
	// Patience is how long after the end every volume may take to have what is new.
	Patience time.Duration

	volumes, late []rotation.Volume
}

// Figures tell how an outage went.
type Figures struct {
	Calm    int // requests in as much time before it began
	During  int // requests while it lasted
	Peak    int // most requests within a second after it ended
	Tries   int // first mounts that failed
	Slowest time.Duration
	Fresh   time.Duration // after its end everything was
	Text    string        // of an error of a first mount
}

func (f Figures) String() string {
	return fmt.Sprintf("%d requests before, %d during, at most %d a second afterwards; %d first mounts failed, within %v; fresh after %v: %.300s",
		f.Calm, f.During, f.Peak, f.Tries, f.Slowest.Round(time.Millisecond), f.Fresh.Round(time.Millisecond), f.Text)
}

// Run goes through an outage, in a synctest bubble. The test fails if a volume that was
// mounted loses or changes anything meanwhile, if a first mount succeeds, or if not
// everything is fresh in time afterwards.
func (o Outage) Run(t testing.TB) (f Figures) {
	t.Helper()
	for n := range mounted {
		o.volumes = append(o.volumes, o.VolumeOf(n%Identities, fmt.Sprint("u", n)))
	}
	for n := range late {
		o.late = append(o.late, o.VolumeOf(n%Identities, fmt.Sprint("late", n)))
	}
	for _, v := range o.volumes {
		if err := o.Publish(t.Context(), v); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(o.Lasts)
	f.Calm = o.Requests.Between(time.Now().Add(-o.Lasts), time.Now())
	before := o.contents()
	o.Begin()
	begin := time.Now()
	tried := o.arrive(t)
	for time.Since(begin) < o.Lasts {
		time.Sleep(time.Second)
		if after := o.contents(); !maps.EqualFunc(before, after, maps.Equal) {
			t.Fatalf("after %v the volumes hold %v, before %v", time.Since(begin), after, before)
		}
	}
	end := time.Now()
	o.End()
	f.Tries, f.Slowest, f.Text = tried.figures(end)
	f.During = o.Requests.Between(begin, end)
	f.Fresh = o.recover(t, before, tried)
	f.Peak = o.Requests.Peak(end)
	return f
}

func (o Outage) contents() map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, v := range o.volumes {
		all[v.Target] = o.Content(v.Target)
	}
	return all
}

// recover waits until every volume has something else than before.
func (o Outage) recover(t testing.TB, before map[string]map[string]string, tried *arrivals) time.Duration {
	t.Helper()
	end := time.Now()
	for {
		old := slices.DeleteFunc(slices.Clone(o.volumes), func(v rotation.Volume) bool { return !maps.Equal(o.Content(v.Target), before[v.Target]) })
		missing := slices.DeleteFunc(slices.Clone(o.late), func(v rotation.Volume) bool { return o.Content(v.Target) != nil })
		if len(old)+len(missing) == 0 {
			break
		}
		if time.Since(end) > o.Patience {
			t.Fatalf("%v after the end, %d volumes are old, and %d of new pods are not mounted: %v", o.Patience, len(old), len(missing), tried.last)
		}
		time.Sleep(100 * time.Millisecond)
	}
	fresh := time.Since(end)
	tried.all.Wait()
	time.Sleep(time.Minute) // of requests that nobody needed
	return fresh
}

// arrivals are the first mounts of new pods.
type arrivals struct {
	all sync.WaitGroup

	mu    sync.Mutex
	tries []try
	last  error
}

type try struct {
	at   time.Time
	took time.Duration
	text string
}

// arrive lets new pods come, and tries their volumes as kubelet does: half a second after
// a failure, and twice as long each time, up to two minutes.
func (o Outage) arrive(t testing.TB) *arrivals {
	t.Helper()
	const first, most, patience = 500 * time.Millisecond, 122 * time.Second, 2 * time.Minute
	a := &arrivals{}
	for _, v := range o.late {
		a.all.Go(func() {
			for wait := first; ; wait = min(2*wait, most) {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				start := time.Now()
				err := o.Publish(ctx, v)
				cancel()
				if err == nil || t.Context().Err() != nil {
					return
				}
				a.note(try{start, time.Since(start), err.Error()}, err)
				time.Sleep(wait)
			}
		})
	}
	return a
}

func (a *arrivals) note(t try, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tries, a.last = append(a.tries, t), err
}

// figures are those of the tries that ended before a time: how many, how long the slowest
// took, and the shortest text.
func (a *arrivals) figures(before time.Time) (n int, slowest time.Duration, text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range a.tries {
		if t.at.Add(t.took).After(before) {
			continue
		}
		n++
		slowest = max(slowest, t.took)
		if text == "" || strings.Compare(t.text, text) < 0 && len(t.text) <= len(text) {
			text = t.text
		}
	}
	return n, slowest, text
}
