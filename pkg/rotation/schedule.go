package rotation

import (
	"container/heap"
	"hash/fnv"
	"maps"
	"time"

	"github.com/strongroom/strongroom/provider"
)

const (
	// jitter is how many times an interval is what a refresh may come earlier or later.
	jitter = 10
	// spread bounds the time over which a class that changed is refreshed by all nodes.
	spread = 30 * time.Second
	// firstBackoff doubles with every failure up to the interval, within these bounds.
	firstBackoff = 5 * time.Second
	leastBackoff = 30 * time.Second
	mostBackoff  = 10 * time.Minute
	leastLease   = time.Second
	// perProvider bounds the refreshes in flight to one provider: one that hangs must
	// leave room for first mounts, and for the others.
	perProvider = 8
)

// Trigger says why a volume is refreshed.
type Trigger string

// The triggers of a delivery.
const (
	OnMount    Trigger = "mount"
	OnInterval Trigger = "interval"
	OnLease    Trigger = "lease"  // the provider asked to be called again
	OnChange   Trigger = "class"  // the class is another one, or was edited
	OnForce    Trigger = "forced" // the refresh annotation has a new value
	OnRetry    Trigger = "retry"
	OnSync     Trigger = "sync" // a Kubernetes Secret was filled
)

// plan is what the schedule needs to know of a volume.
type plan struct {
	provider string
	class    ClassName
	account  string
	interval time.Duration // of the class; 0 is the driver's
	never    bool
	fetched  time.Time     // when the content was read last, changed or not
	lease    time.Duration // when the provider wants to be asked again after that; 0 if it does not say
}

// job is a refresh whose time has come.
type job struct {
	target  string
	trigger Trigger
	// notBefore forbids answers from earlier reads; zero allows them.
	notBefore time.Time
}

// schedule decides which volume is refreshed when. It has no clock and no lock: time
// is told, and never goes back but in tests.
//
// Volumes of one identity, which is a service account at a provider, come due at the
// same time: an identity has a phase, and every refresh of a volume moves it towards
// that phase by up to a tenth of its interval.
type schedule struct {
	interval time.Duration // the driver's; 0: nothing is ever due
	node     string        // gives every node phases of its own
	random   func(below time.Duration) time.Duration
	hash     func(parts ...string) uint64 // gives an identity its phase

	entries  map[string]*entry
	waiting  queue            // entries with a time
	lanes    map[string]*lane // by provider
	circuits map[circuitName]*circuit
	last     time.Time
}

// entry is a volume in the schedule.
type entry struct {
	plan
	target    string
	at        time.Time
	index     int // in waiting; -1 if it is not there
	trigger   Trigger
	notBefore time.Time
	running   bool
	asleep    bool    // it needs fresh tokens
	again     Trigger // what came while it ran; "" is nothing
	fails     int
	since     time.Time // of the first failure
	heard     bool      // its provider has answered for its class since then, or while it ran
}

// lane is what is under way to one provider.
type lane struct {
	ready   []*entry
	running int
}

// circuit holds back the refreshes of a class whose provider does not answer: one
// volume tries for all.
type circuit struct {
	fails int
	until time.Time
	probe *entry
	held  map[*entry]bool
}

type circuitName struct {
	provider string
	class    ClassName
}

func newSchedule(interval time.Duration, node string, random func(time.Duration) time.Duration) *schedule {
	return &schedule{
		interval: interval, node: node, random: random, hash: hash,
		entries: map[string]*entry{}, lanes: map[string]*lane{}, circuits: map[circuitName]*circuit{},
	}
}

// put takes a volume in, or what is new about it. One whose time was long ago comes
// soon, but not all such volumes at once.
func (s *schedule) put(now time.Time, target string, p plan) {
	if s.interval == 0 {
		return
	}
	s.tell(now)
	if !p.fetched.IsZero() {
		// By the monotonic clock of now, should the other be set from here on; and not ahead,
		// should it have been set back between two processes.
		p.fetched = now.Add(-max(now.Sub(p.fetched), 0))
	}
	e := s.entries[target]
	if e == nil {
		e = &entry{target: target, index: -1}
		s.entries[target] = e
	}
	if e.running {
		return // its end decides
	}
	s.letGo(e)
	e.plan = p
	e.fails, e.since, e.asleep, e.heard = 0, time.Time{}, false, false
	at, trigger := s.planned(e)
	if e.fetched.IsZero() { // by another driver: how old it is, nobody knows
		e.fetched = now
	}
	if !at.IsZero() && at.Before(now) {
		at = now.Add(s.offset(e, s.window(e)))
	}
	s.set(e, at, trigger)
}

// planned is when the next refresh is, if all goes well; zero is never. A volume may
// hold what has a lease and what has none: so the earlier time counts, that of the
// interval or that which the provider asked for.
func (s *schedule) planned(e *entry) (time.Time, Trigger) {
	if e.never {
		return time.Time{}, ""
	}
	period := s.period(e)
	at := e.fetched.Add(period)
	at = at.Add(s.towardsPhase(at, e, period))
	if asked := e.fetched.Add(max(e.lease, leastLease)); e.lease > 0 && asked.Before(at) {
		return asked, OnLease
	}
	return at, OnInterval
}

// period is the interval of a volume.
func (s *schedule) period(e *entry) time.Duration {
	if e.interval > 0 {
		return e.interval
	}
	return s.interval
}

// window is the time over which what comes due at once is spread.
func (s *schedule) window(e *entry) time.Duration { return min(s.period(e)/jitter, spread) }

// towardsPhase is how far a refresh at the given time may move to come nearer to the
// phase of its identity.
func (s *schedule) towardsPhase(at time.Time, e *entry, period time.Duration) time.Duration {
	past := (time.Duration(at.UnixNano()) - s.offset(e, period)) % period
	if past < 0 {
		past += period
	}
	move := -past
	if past > period/2 {
		move = period - past
	}
	most := period / jitter
	return max(-most, min(most, move))
}

// offset is below the given time, and the same for all volumes of an identity.
func (s *schedule) offset(e *entry, below time.Duration) time.Duration {
	if below <= 0 {
		return 0
	}
	return time.Duration(s.hash(s.node, e.provider, e.class.Namespace, e.account) % uint64(below)) //nolint:gosec // below is positive
}

func hash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, part := range parts {
		_, _ = h.Write([]byte(part))
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// remove forgets a volume.
func (s *schedule) remove(now time.Time, target string) {
	e := s.entries[target]
	if e == nil {
		return
	}
	s.tell(now)
	delete(s.entries, target)
	s.unset(e)
	s.letGo(e)
	if e.running {
		s.leaveLane(e)
	}
	s.stopProbing(e)
}

// forgetClass forgets what is known of a class that no volume uses any more.
func (s *schedule) forgetClass(name ClassName) {
	maps.DeleteFunc(s.circuits, func(c circuitName, _ *circuit) bool { return c.class == name })
}

// due starts refreshes whose time has come: for each of them succeed, fail, sleep or
// remove follows.
func (s *schedule) due(now time.Time) []job {
	s.tell(now)
	for len(s.waiting) > 0 && !s.waiting[0].at.After(now) {
		e := s.waiting[0]
		s.unset(e)
		s.lane(e.provider).ready = append(s.lane(e.provider).ready, e)
	}
	var jobs []job
	for name, l := range s.lanes {
		var kept []*entry
		for _, e := range l.ready {
			switch {
			case s.entries[e.target] != e || e.running || e.index >= 0 || e.provider != name: // removed, or set anew
			case l.running >= perProvider:
				kept = append(kept, e)
			case s.holdBack(now, e):
			default:
				e.running, e.heard = true, e.heard && !e.since.IsZero()
				l.running++
				jobs = append(jobs, job{e.target, e.trigger, e.notBefore})
			}
		}
		l.ready = kept
	}
	return jobs
}

// holdBack says whether a volume has to wait for another one to try its provider.
func (s *schedule) holdBack(now time.Time, e *entry) bool {
	c := s.circuit(e)
	switch {
	case c == nil:
		return false
	case c.probe == nil && !now.Before(c.until):
		c.probe = e
		return false
	case c.probe == nil:
		s.set(e, c.until, e.trigger)
	default:
		c.held[e] = true
	}
	if e.since.IsZero() {
		e.since = now
	}
	return true
}

// next is when due has something to do if nothing else happens; zero is never.
func (s *schedule) next() time.Time {
	if len(s.waiting) == 0 {
		return time.Time{}
	}
	return s.waiting[0].at
}

// lag is for how long the volume that is most overdue has waited to be started.
func (s *schedule) lag(now time.Time) time.Duration {
	lag := time.Duration(0)
	if at := s.next(); !at.IsZero() {
		lag = now.Sub(at)
	}
	for _, l := range s.lanes {
		for _, e := range l.ready {
			lag = max(lag, now.Sub(e.at))
		}
	}
	return max(lag, 0)
}

// inFlight counts the refreshes that were started and have not ended.
func (s *schedule) inFlight() int {
	n := 0
	for _, l := range s.lanes {
		n += l.running
	}
	return n
}

// succeed ends a refresh that answered; p is what is known of the volume now.
func (s *schedule) succeed(now time.Time, target string, p plan) {
	e := s.finish(now, target)
	if e == nil {
		return
	}
	s.answered(now, e.provider, e.class)
	s.put(now, target, p)
	if e.again == "" {
		e.notBefore = time.Time{}
		return
	}
	s.set(e, now, e.again)
	e.again = ""
}

// fail ends a refresh that failed.
func (s *schedule) fail(now time.Time, target string, kind provider.Kind, retryAfter time.Duration) {
	e := s.finish(now, target)
	if e == nil {
		return
	}
	if e.fails++; e.since.IsZero() {
		e.since = now
	}
	if !passing(kind) {
		s.answered(now, e.provider, e.class) // if only with a no
		s.set(e, now.Add(min(s.period(e), mostBackoff)), OnRetry)
	} else {
		s.set(e, s.nextTry(now, e, kind, retryAfter), OnRetry)
	}
	if e.again != "" { // what failed was the class as it was before
		s.set(e, now, e.again)
		e.again = ""
	}
}

// nextTry is when to try again what may pass. A volume whose provider has answered
// others since it began to fail fails alone: it waits by itself, and holds back nobody.
func (s *schedule) nextTry(now time.Time, e *entry, kind provider.Kind, retryAfter time.Duration) time.Time {
	at := now
	if e.heard {
		at = now.Add(s.backoff(e.fails, s.period(e)))
		if s.circuit(e) == nil && kind != provider.Throttled && retryAfter == 0 {
			return at
		}
	}
	c := s.open(now, e)
	if later := now.Add(retryAfter); retryAfter > 0 && c.until.Before(later) {
		c.until = later.Add(s.random(retryAfter / jitter))
	}
	s.release(c, c.until)
	if at.Before(c.until) {
		return c.until
	}
	return at
}

// backoff doubles with every failure, with up to a fifth of jitter.
func (s *schedule) backoff(fails int, period time.Duration) time.Duration {
	most := min(max(period, leastBackoff), mostBackoff)
	wait := most
	if fails < 10 {
		wait = min(most, min(firstBackoff, period/2)<<(fails-1))
	}
	return wait + s.random(wait/5)
}

// passing says whether a failure of this kind may end by itself.
func passing(kind provider.Kind) bool {
	switch kind {
	case provider.Unknown, provider.Unavailable, provider.Throttled, provider.Timeout, provider.Internal, provider.Busy:
		return true
	case provider.Invalid, provider.NotFound, provider.Denied, provider.TooLarge:
	}
	return false
}

// sleep ends a refresh that could not begin: the volume has no valid token. It is not
// tried again until wake.
func (s *schedule) sleep(now time.Time, target string) {
	e := s.finish(now, target)
	if e == nil {
		return
	}
	if e.since.IsZero() {
		e.since = now
	}
	e.asleep = true
	s.stopProbing(e)
}

// later ends a refresh that could not begin because something else is being done.
func (s *schedule) later(now time.Time, target string) {
	e := s.finish(now, target)
	if e == nil {
		return
	}
	s.stopProbing(e)
	s.set(e, now.Add(time.Second), e.trigger)
}

// wake says that a volume has fresh tokens.
func (s *schedule) wake(now time.Time, target string) {
	if e := s.entries[target]; e != nil && e.asleep {
		e.asleep, e.since, e.heard = false, time.Time{}, false
		s.set(e, now, e.trigger)
	}
}

// change makes every volume of a class that outdated accepts due: on every node at
// another time, on this one at the same. Also those that are never refreshed: their
// class may say otherwise now. And if its provider did not answer: what is wrong may be
// what was mended.
func (s *schedule) change(now time.Time, name ClassName, force bool, outdated func(target string) bool) {
	share := s.random(time.Hour)
	for target, e := range s.entries {
		if e.class != name || !outdated(target) {
			continue
		}
		if c := s.circuit(e); c != nil && c.until.After(now) {
			c.fails, c.until = 0, now
		}
		most := s.window(e)
		at := now.Add(time.Duration(float64(most) * float64(share) / float64(time.Hour)))
		trigger := OnChange
		if force {
			trigger = OnForce
			e.notBefore = now
		}
		switch {
		case e.running:
			e.again = trigger
		case e.asleep:
			e.trigger = trigger
		default:
			s.letGo(e)
			s.set(e, at, trigger)
		}
	}
}

// answered says that a provider answered for a class, if only to a first mount: what
// was held back goes on, the first time spread a little. What failed itself and did so
// again after such an answer waits as long as it would.
func (s *schedule) answered(now time.Time, providerName string, class ClassName) {
	name := circuitName{providerName, class}
	s.hear(name)
	c := s.circuits[name]
	if c == nil {
		return
	}
	delete(s.circuits, name)
	s.release(c, now)
	for _, e := range s.entries { // also those that were to try next
		if e.provider != providerName || e.class != class || e.index < 0 || e.since.IsZero() || e.heard && e.fails > 0 {
			continue
		}
		at := now
		if !e.heard {
			at = now.Add(s.offset(e, s.window(e)))
		}
		e.heard = true
		s.set(e, at, e.trigger)
	}
}

// hear tells volumes that are being refreshed that their provider answers: should one
// of them fail now, it does so alone.
func (s *schedule) hear(name circuitName) {
	if l := s.lanes[name.provider]; l == nil || l.running == 0 {
		return // as at most first mounts
	}
	for _, e := range s.entries {
		if e.running && e.provider == name.provider && e.class == name.class {
			e.heard = true
		}
	}
}

// staleAt is when a volume counts as stale: after two intervals without an answer, or
// twice what its provider asked for, if that is shorter; zero is never.
func (s *schedule) staleAt(target string) time.Time {
	e := s.entries[target]
	if e == nil || e.never {
		return time.Time{}
	}
	period := s.period(e)
	if e.lease > 0 {
		period = min(period, e.lease)
	}
	return e.fetched.Add(2 * period)
}

// trouble says since when a volume could not be refreshed, and how often it was tried;
// the zero time is that all is well.
func (s *schedule) trouble(target string) (since time.Time, fails int, asleep bool) {
	if e := s.entries[target]; e != nil {
		return e.since, e.fails, e.asleep
	}
	return time.Time{}, 0, false
}

// tell notes what time it is. Should it go back, all that waits moves with it.
func (s *schedule) tell(now time.Time) {
	back := s.last.Sub(now)
	s.last = now
	if back <= 0 {
		return
	}
	for _, e := range s.entries {
		e.at, e.fetched = e.at.Add(-back), e.fetched.Add(-back) // those without a time have no use for it
		if !e.since.IsZero() {
			e.since = e.since.Add(-back)
		}
	}
	for _, c := range s.circuits {
		c.until = c.until.Add(-back)
	}
}

// finish takes a volume that ran out of its lane; nil if it was removed meanwhile.
func (s *schedule) finish(now time.Time, target string) *entry {
	s.tell(now)
	e := s.entries[target]
	if e == nil || !e.running {
		return nil
	}
	s.leaveLane(e)
	return e
}

func (s *schedule) leaveLane(e *entry) {
	e.running = false
	s.lane(e.provider).running--
}

func (s *schedule) lane(name string) *lane {
	l := s.lanes[name]
	if l == nil {
		l = &lane{}
		s.lanes[name] = l
	}
	return l
}

func (s *schedule) circuit(e *entry) *circuit {
	return s.circuits[circuitName{e.provider, e.class}]
}

// open notes that a provider did not answer. What was under way already when that was
// known adds nothing to it.
func (s *schedule) open(now time.Time, e *entry) *circuit {
	name := circuitName{e.provider, e.class}
	c := s.circuits[name]
	if c == nil {
		c = &circuit{held: map[*entry]bool{}, probe: e}
		s.circuits[name] = c
	}
	if c.probe == e {
		c.probe = nil
		c.fails++
		c.until = now.Add(s.backoff(c.fails, s.period(e)))
	}
	return c
}

// letGo takes a volume out of those that are held back.
func (s *schedule) letGo(e *entry) {
	if c := s.circuit(e); c != nil {
		delete(c.held, e)
	}
}

// stopProbing lets others try, if the volume tried for all.
func (s *schedule) stopProbing(e *entry) {
	if c := s.circuit(e); c != nil && c.probe == e {
		c.probe = nil
		s.release(c, c.until)
	}
}

// release makes those that are held back due.
func (s *schedule) release(c *circuit, at time.Time) {
	for e := range c.held {
		s.set(e, at, e.trigger)
	}
	clear(c.held)
}

// set makes a volume due at a time; the zero time is never.
func (s *schedule) set(e *entry, at time.Time, trigger Trigger) {
	s.unset(e)
	e.at, e.trigger = at, trigger
	if !at.IsZero() {
		heap.Push(&s.waiting, e)
	}
}

func (s *schedule) unset(e *entry) {
	if e.index >= 0 {
		heap.Remove(&s.waiting, e.index)
	}
}

// queue is a heap of entries, the earliest first. Of those that a circuit held back, one
// that has not failed itself comes first: it may well be answered, and then all go on.
type queue []*entry

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	switch a, b := q[i], q[j]; {
	case !a.at.Equal(b.at):
		return a.at.Before(b.at)
	case a.fails != b.fails:
		return a.fails < b.fails
	default:
		return a.target < b.target
	}
}

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements [heap.Interface].
func (q *queue) Push(x any) {
	e := x.(*entry) //nolint:forcetypeassert // only entries are pushed
	e.index = len(*q)
	*q = append(*q, e)
}

// Pop implements [heap.Interface].
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	e.index = -1
	return e
}
