package rotation

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"golang.org/x/time/rate"

	"github.com/strongroom/strongroom/provider"
)

const (
	tellers    = 4    // providers told side by side of volumes that are gone
	maxNotices = 1024 // that wait to be told
	// lasting is how long something may be wrong before anybody is told, or how often
	// it was tried.
	lasting      = 2 * time.Minute
	lastingTries = 2
	// noticeEvery and noticeBurst bound the events of one node.
	noticeEvery = time.Second
	noticeBurst = 10
	// tellAgain is how long after it was told in vain, which doubles up to remindEvery.
	tellAgain = time.Minute
	// remindEvery is when a cause that lasts is told again: events live for an hour.
	remindEvery = time.Hour
	// expiryNotice is how long before the end of its content a pod is told.
	expiryNotice = 7 * 24 * time.Hour
)

// lasts says whether a failure is worth telling.
func (f failure) lasts(now time.Time) bool {
	return f.err != nil && (f.tries >= lastingTries || now.Sub(f.since) >= lasting)
}

// cause is one thing that is wrong with volumes of a class.
type cause struct {
	class  ClassName
	reason Reason
	about  string
}

// sufferers are the volumes that have a cause. It is worth telling once it lasts for one
// of them.
type sufferers struct {
	lasts   bool
	count   int
	of      int // volumes of the class
	example *known
	text    string
	once    bool // telling it again is of no use: nothing will change for any of them
}

// report is what users know of a cause.
type report struct {
	at   time.Time
	who  *known        // it was told of this volume alone, by its pod; nil for many
	lost bool          // nobody heard, as when the API server is gone
	wait time.Duration // before it is told again then

	left  *known // the only one, and how often it had failed when that was seen first
	tries int
}

// news is what users are to be told.
type news struct {
	Notice
	lost func() // called with r.mu if nobody heard; nil if that does not matter
}

// complaints is what is wrong with all volumes.
type complaints struct {
	causes map[cause]*sufferers
	total  map[ClassName]int // volumes
}

func (c complaints) add(k *known, why cause, text string, lasts bool) {
	s := c.causes[why]
	if s == nil {
		s = &sufferers{example: k, text: text, of: c.total[k.class]}
		c.causes[why] = s
	}
	s.count++
	s.lasts = s.lasts || lasts
}

// review looks at what is wrong, notes it at the volumes and tells users.
func (r *Volumes) review(ctx context.Context, now time.Time) {
	r.mu.Lock()
	wrong := complaints{map[cause]*sufferers{}, map[ClassName]int{}}
	for _, k := range r.known {
		wrong.total[k.class]++
	}
	changed := map[string]Condition{}
	for target, k := range r.known {
		if k.class.Name == "" {
			continue
		}
		ready, lasts := r.readiness(target, k, now)
		if !ready.OK {
			wrong.add(k, cause{class: k.class, reason: ready.Reason}, ready.Text, lasts)
		}
		if lasts && k.isNewly(ready) {
			ready.Text = ready.Reason.about(ready.Text)
			changed[target] = ready
		}
		if s := k.memory.Synced; s.Type != "" && !s.OK && k.unfilled.err != nil {
			wrong.add(k, cause{k.class, s.Reason, k.unfilled.about}, k.unfilled.err.Error(), true)
		}
		r.addServed(wrong, target, k)
		r.tellExpiry(k, now)
	}
	r.tellCauses(wrong.causes, now)
	r.mu.Unlock()
	for target, c := range changed {
		r.becomeUnready(ctx, target, c)
	}
}

// addServed complains of content that its store did not confirm. The oldest is the
// example. It needs r.mu.
func (r *Volumes) addServed(c complaints, target string, k *known) {
	if k.memory.Served.IsZero() || k.failure.err != nil { // which is told
		return
	}
	why := cause{class: k.class, reason: ServedStale}
	s, never := c.causes[why], r.times.staleAt(target).IsZero()
	oldest := s == nil || k.memory.read().Before(s.example.memory.read())
	once := never && (s == nil || s.once)
	c.add(k, why, "", true)
	s = c.causes[why]
	s.once = once
	if oldest {
		s.example = k
		s.text = fmt.Sprintf("its store did not answer, and provider %s served what it had read at %s, %s before", k.memory.Provider,
			k.memory.read().UTC().Format(time.RFC3339), k.memory.Fetched.Sub(k.memory.read()).Round(time.Second))
	}
}

// isNewly says whether a condition is another one than the record has.
func (k *known) isNewly(c Condition) bool {
	return k.remember && (k.memory.Ready.OK != c.OK || k.memory.Ready.Reason != c.Reason)
}

// readiness says in which condition a volume is, and if it is not ready, whether that
// lasts. It needs r.mu.
func (r *Volumes) readiness(target string, k *known, now time.Time) (c Condition, lasts bool) {
	since, _, asleep := r.times.trouble(target)
	stale := r.stale(target, now)
	c = ready(now)
	if asleep && k.volume.ID == "" { // kubelet announces it soon
		if stale {
			c.OK, c.Reason = false, NotAnnounced
			c.Text = "kubelet announces each mounted volume about once a minute, and not this one since the driver was started"
		}
		return c, stale
	}
	if asleep {
		if stale || now.Sub(since) >= lasting {
			c.OK, c.Reason = false, TokensExpired
			c.Text = "kubelet brings no fresh service account tokens"
			return c, true
		}
	} else if f := r.failureOf(k, since); f.err != nil {
		c.OK, c.Reason, c.Text = false, f.reason, f.err.Error()
		return c, stale || f.lasts(now)
	}
	if stale {
		c.OK, c.Reason = false, RefreshStale
		c.Text = "it was refreshed last at " + k.memory.Fetched.UTC().Format(time.RFC3339) + ", which is more than two intervals ago"
	}
	return c, stale
}

func ready(since time.Time) Condition {
	return Condition{Type: Ready, OK: true, Reason: MountedReason, Since: since}
}

// stale needs r.mu.
func (r *Volumes) stale(target string, now time.Time) bool {
	at := r.times.staleAt(target)
	return !at.IsZero() && now.After(at)
}

// failureOf is why a volume is in trouble since then: its own failure, or that of the
// volume which tries for all. It needs r.mu.
func (r *Volumes) failureOf(k *known, since time.Time) failure {
	if k.failure.err != nil || since.IsZero() {
		return k.failure
	}
	f := r.down[circuitName{k.memory.Provider, k.class}]
	f.since, f.tries = since, 0
	return f
}

// tellCauses tells what is new, or lasts, or is over. It needs r.mu.
func (r *Volumes) tellCauses(wrong map[cause]*sufferers, now time.Time) {
	for c, s := range wrong {
		if r.causes[c].isDue(s, now) {
			r.tellCause(c, s, now)
		}
	}
	for c, p := range r.causes {
		if wrong[c] != nil {
			continue
		}
		delete(r.causes, c)
		if p.lost || r.classes[c.class] == nil || sameKind(wrong, c) {
			continue // nobody knew, nobody is left, or it is only called otherwise now
		}
		n := Notice{Class: c.class, ClassUID: r.uidOf(c.class), Good: true, Reason: RefreshedReason, Text: "volumes of " + c.class.String() + " are refreshed again"}
		if c.about != "" {
			n.Reason, n.Text = SyncedReason, fmt.Sprintf("secret %s/%s is filled again", c.class.Namespace, c.about)
		}
		r.tell(news{Notice: n})
	}
}

func (r *Volumes) tellCause(c cause, s *sufferers, now time.Time) {
	p := &report{at: now, wait: tellAgain}
	if s.count == 1 {
		p.who = s.example
	}
	if old := r.causes[c]; old != nil && old.lost {
		p.wait = min(2*old.wait, remindEvery)
	}
	r.causes[c] = p
	r.tell(news{s.notice(c, r.cfg.Node), func() { p.lost = true }})
}

// isDue says whether a cause is to be told, or told again.
func (p *report) isDue(s *sufferers, now time.Time) bool {
	switch {
	case p == nil:
		return s.lasts
	case p.lost:
		return s.lasts && now.Sub(p.at) >= p.wait
	case s.lasts && !s.once && now.Sub(p.at) >= remindEvery:
		return true
	}
	return p.isAlone(s)
}

// isAlone says whether one is left of those that a cause was told of, which has failed
// again since: it is not just the last to recover, and its own pod is to hear of it.
func (p *report) isAlone(s *sufferers) bool {
	if s.count != 1 || p.who == s.example {
		p.left = nil
		return false
	}
	if p.left != s.example {
		p.left, p.tries = s.example, s.example.failure.tries
	}
	return s.example.failure.tries > p.tries
}

// sameKind says whether something of the same sort is still wrong.
func sameKind(wrong map[cause]*sufferers, gone cause) bool {
	for c := range wrong {
		if c.class == gone.class && c.about == gone.about {
			return true
		}
	}
	return false
}

func (r *Volumes) uidOf(name ClassName) string {
	for _, k := range r.known {
		if k.class == name && k.remember {
			return k.memory.ClassUID
		}
	}
	return ""
}

// notice is about the pod if it is the only one, else about the class.
func (s *sufferers) notice(c cause, node string) Notice {
	n := Notice{Class: c.class, ClassUID: s.example.memory.ClassUID, Reason: c.reason}
	pod := s.example.pod()
	what, scope := c.class.short(), fmt.Sprintf("%d of %d volumes on node %s", s.count, s.of, node)
	switch {
	case c.about != "":
		n.Pod = pod
		what, scope = "secret "+short(c.class.Namespace+"/"+c.about), "for "+c.class.String()
	case c.reason == ServedStale:
		if s.count == 1 {
			n.Pod = pod
		}
		scope += " hold content that may be old, that of pod " + pod.Name
	case s.count == 1:
		n.Pod = pod
		scope += " is not refreshed, its files stay as they are"
	default:
		scope += " are not refreshed, one of pod " + pod.Name + " among them, their files stay as they are"
	}
	n.Text = what + ": " + c.reason.about("") + "; " + scope + ": " + s.text
	return n
}

func (k *known) pod() provider.Pod {
	if k.volume.ID != "" {
		return k.volume.Pod
	}
	return k.memory.Pod
}

// tellExpiry tells a pod once that what it holds is about to end. What its provider
// renews, as it does with a lease, is no news. It needs r.mu.
func (r *Volumes) tellExpiry(k *known, now time.Time) {
	m := &k.memory
	if m.Expires.IsZero() || !m.Due.IsZero() || m.Expires.Sub(now) > expiryNotice || m.Told.Equal(m.Expires) && !k.isUntold(now) {
		return
	}
	m.Told, k.untold = m.Expires, time.Time{}
	r.tell(news{Notice{
		Pod: m.Pod, Class: k.class, Reason: ContentExpires,
		Text: fmt.Sprintf("what %s mounts ends at %s: renew it at its store", k.class.short(), m.Expires.UTC().Format(time.RFC3339)),
	}, func() { k.untold = now }})
}

// isUntold says whether nobody heard when the content ends, and it is time to tell again.
func (k *known) isUntold(now time.Time) bool {
	return !k.untold.IsZero() && now.Sub(k.untold) >= remindEvery
}

// becomeUnready notes a condition at the volume before it is recorded, so that it is
// taken back even if this process does not live to see that.
func (r *Volumes) becomeUnready(ctx context.Context, target string, c Condition) {
	_, end, err := r.begin(ctx, target, quiet)
	if err != nil {
		return // the next review comes soon
	}
	defer end()
	r.mu.Lock()
	k := r.known[target]
	if k == nil || !k.remember {
		r.mu.Unlock()
		return
	}
	k.memory.Ready, k.memory.Changed, k.memory.Recorded = c, c.Since, false
	m := k.memory
	r.mu.Unlock()
	r.remember(ctx, target, m, "note that a volume is not fresh")
	r.records.put(target, m.snapshot(target))
}

// tell has users told, unless too many wait for that: those tell enough for now. It needs
// r.mu if the news can be lost.
func (r *Volumes) tell(n news) {
	select {
	case r.notices <- n:
	default:
		n.unheard()
	}
}

// unheard lets a later review tell again what nobody heard, if that is still so.
func (n news) unheard() {
	if n.lost != nil {
		n.lost()
	}
}

func (r *Volumes) tellUsers(ctx context.Context) {
	limit := rate.NewLimiter(rate.Every(noticeEvery), noticeBurst)
	for {
		select {
		case n := <-r.notices:
			if limit.Wait(ctx) != nil {
				return
			}
			if err := r.cfg.Cluster.Tell(ctx, n.Notice); err != nil {
				r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "make an event", slog.String("reason", n.Reason.String()), slog.String("namespace", n.Class.Namespace),
					slog.String("class", n.Class.Name), slog.String("text", n.Text), slog.String("err", err.Error()))
				r.mu.Lock()
				n.unheard()
				r.mu.Unlock()
			}
		case <-ctx.Done():
			return
		}
	}
}

func (r *Volumes) tellProviders(ctx context.Context) {
	for {
		select {
		case m := <-r.gone:
			r.cfg.Source.Unmounted(ctx, m.Provider, m.Volume)
		case <-ctx.Done():
			return
		}
	}
}

// VolumeState is one that a volume can be in; it can be in several.
type VolumeState string

// The states of volumes.
const (
	// Mounted: published or announced by kubelet since the start.
	Mounted VolumeState = "mounted"
	// Unclaimed: found mounted at the start, and kubelet has not announced it yet. It
	// never does for a pod that is ending.
	Unclaimed VolumeState = "unclaimed"
	// Unrecorded: its status is still to be written.
	Unrecorded VolumeState = "unrecorded"
	// Outdated: its class is not what it was when the content was fetched.
	Outdated VolumeState = "outdated"
	// Failing: the last try to refresh it failed, or it waits for another one to succeed.
	Failing VolumeState = "failing"
	// Stale: not refreshed for two intervals.
	Stale VolumeState = "stale"
	// Tokenless: it is due, and its tokens have expired.
	Tokenless VolumeState = "tokenless"
	// Unsynced: a Secret that its class asks for could not be filled.
	Unsynced VolumeState = "unsynced"
)

// States lists all states.
func States() []VolumeState {
	return []VolumeState{Mounted, Unclaimed, Unrecorded, Outdated, Failing, Stale, Tokenless, Unsynced}
}

// Tally is a number of volumes, and the age of the oldest content among them.
type Tally struct {
	Count  int
	Oldest time.Duration
}

// Report is the state of all volumes at one moment.
type Report struct {
	States map[VolumeState]Tally
	// Lag is for how long the refresh that is most overdue has waited to be started.
	Lag time.Duration
	// Refreshing counts the refreshes in flight, Filling the volumes whose Secrets wait.
	Refreshing, Filling int
	// Answered says when each provider answered last.
	Answered map[string]time.Time
	// Expiries is when the first content of a class ends, where its provider says so.
	Expiries map[ClassName]time.Time
}

// Report reports.
func (r *Volumes) Report() Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	report := Report{
		States: map[VolumeState]Tally{}, Lag: r.times.lag(now), Refreshing: r.times.inFlight(), Filling: r.copies.len(),
		Answered: maps.Clone(r.success), Expiries: map[ClassName]time.Time{},
	}
	for target, k := range r.known {
		age := time.Duration(0)
		if k.remember {
			age = max(0, now.Sub(k.memory.read()))
		}
		for _, s := range r.statesOf(target, k, now) {
			t := report.States[s]
			report.States[s] = Tally{t.Count + 1, max(t.Oldest, age)}
		}
		if e := k.memory.Expires; !e.IsZero() && (report.Expiries[k.class].IsZero() || e.Before(report.Expiries[k.class])) {
			report.Expiries[k.class] = e
		}
	}
	unrecorded := report.States[Unrecorded]
	unrecorded.Count = r.records.len()
	report.States[Unrecorded] = unrecorded
	return report
}

// statesOf needs r.mu.
func (r *Volumes) statesOf(target string, k *known, now time.Time) []VolumeState {
	states := []VolumeState{Mounted}
	if k.volume.ID == "" {
		states[0] = Unclaimed
	}
	add := func(is bool, s VolumeState) {
		if is {
			states = append(states, s)
		}
	}
	since, _, asleep := r.times.trouble(target)
	add(k.remember && !k.memory.Recorded, Unrecorded)
	add(k.outdated, Outdated)
	add(!since.IsZero() && !asleep, Failing)
	add(r.stale(target, now), Stale)
	add(asleep && k.volume.ID != "", Tokenless)
	add(k.unfilled.err != nil, Unsynced)
	return states
}
