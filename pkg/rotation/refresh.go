package rotation

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/strongroom/strongroom/provider"
)

const (
	// pulse is how often the clock is looked at if nothing is due, and reviewEvery how
	// often what is wrong is looked through.
	pulse       = time.Second
	reviewEvery = 5 * time.Second
	// tokenMargin is what a token must still be good for.
	tokenMargin = 5 * time.Second
)

// turn starts what is due, until ctx ends.
func (r *Volumes) turn(ctx context.Context) {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	reviewed := time.Now()
	for ctx.Err() == nil {
		now := time.Now()
		due, next := r.tick(now)
		for _, j := range due {
			jobs.Go(func() { r.refresh(ctx, j) })
		}
		if now.Sub(reviewed) >= reviewEvery {
			r.review(ctx, now)
			reviewed = now
		}
		wait := pulse
		if !next.IsZero() {
			wait = max(time.Millisecond, min(wait, next.Sub(now)))
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-r.kick:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// tick says what is due, and when it is to be called again at the latest.
func (r *Volumes) tick(now time.Time) (due []job, next time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turned = now
	r.repeatSecrets(now)
	due = r.times.due(now)
	return due, r.times.next()
}

// wakeUp has the schedule looked at now.
func (r *Volumes) wakeUp() {
	select {
	case r.kick <- struct{}{}:
	default: // it is about to be
	}
}

// refresh makes a volume hold what its provider has now. Should anything fail, the
// volume stays as it is.
func (r *Volumes) refresh(ctx context.Context, j job) {
	defer r.wakeUp()
	ctx, end, err := r.begin(ctx, j.target, quiet)
	if err != nil {
		r.later(j)
		return
	}
	defer end()
	v, m, ok := r.awake(j)
	if !ok {
		return
	}
	r.mounts.wait(ctx, patience)
	r.lookForSubPaths(j.target, v)
	start := time.Now()
	d := r.renew(ctx, v, m, j)
	if ctx.Err() != nil { // an unpublish, or the end of this process
		r.later(j)
		return
	}
	d.took = time.Since(start)
	switch {
	case errors.Is(d.err, errKept):
		return
	case errors.Is(d.err, errGone):
		r.lost(ctx, j.target)
		return
	}
	if d.err != nil {
		d.why = reasonOf(d.phase, d.err)
	}
	r.delivered(v, j.trigger, d)
	r.logRefresh(ctx, v, j, d)
	if d.err != nil {
		r.refreshFailed(j, d)
	}
}

func (r *Volumes) logRefresh(ctx context.Context, v Volume, j job, d delivery) {
	attrs := []slog.Attr{
		slog.String("volume", string(v.ID)), slog.String("namespace", v.Pod.Namespace), slog.String("pod", v.Pod.Name),
		slog.String("class", v.Class), slog.String("provider", d.class.Provider), slog.String("trigger", string(j.trigger)), slog.Duration("took", d.took),
	}
	switch {
	case d.err != nil:
		r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "refresh failed, the files stay as they are", append(attrs, slog.String("err", d.err.Error()))...)
	case d.changed:
		r.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "refreshed", attrs...)
	default:
		r.cfg.Log.LogAttrs(ctx, slog.LevelDebug, "refreshed, nothing has changed", attrs...)
	}
}

// later ends a job that could not be done now.
func (r *Volumes) later(j job) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times.later(time.Now(), j.target)
}

// awake returns a volume that can be refreshed: kubelet has announced it, and its
// tokens are valid.
func (r *Volumes) awake(j job) (v Volume, m memory, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	k := r.known[j.target]
	switch {
	case k == nil:
		r.times.remove(now, j.target)
		return v, m, false
	case k.volume.ID == "", expired(k.volume.Tokens, now):
		r.times.sleep(now, j.target)
		return v, m, false
	}
	return k.volume, k.memory, true
}

// expired says whether a token is no longer good. All of them come with one call of
// kubelet, so one stands for all.
func expired(tokens provider.Tokens, now time.Time) bool {
	for _, token := range tokens {
		if !token.Expires.IsZero() && token.Expires.Before(now.Add(tokenMargin)) {
			return true
		}
	}
	return false
}

// errKept ends a refresh that the class does not want, errGone one of a volume that is
// not mounted any more.
var (
	errKept = errors.New("the class keeps what was mounted")
	errGone = errors.New("nothing is mounted any more")
)

// lost forgets a volume that somebody unmounted. Kubelet's next call mounts it again.
func (r *Volumes) lost(ctx context.Context, target string) {
	r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a volume was unmounted by somebody else", slog.String("path", target))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(target)
}

// renew fetches and writes. Only what is new is recorded.
func (r *Volumes) renew(ctx context.Context, v Volume, m memory, j job) (d delivery) {
	defer r.recovered(ctx, "refresh", &d.err)
	d.phase = Looking
	if d.err = r.stillMounted(v.Target); d.err != nil {
		return d
	}
	d.phase = Classing
	if d.class, d.err = r.classOf(ctx, v.className()); d.err != nil {
		d.class.Provider = m.Provider // the last that was known
		return d
	}
	if d.class.Never && j.notBefore.IsZero() && m.Volume != "" { // and it was not forced
		r.keep(ctx, v.Target, d.class)
		d.err = errKept
		return d
	}
	a, err := r.ask(d.class, v)
	if err != nil {
		d.err = err
		return d
	}
	d.phase = Fetching
	a.notBefore = j.notBefore
	if !m.Truncated {
		a.current = m.Versions
	}
	start := time.Now()
	if d.resp, d.err = r.fetch(ctx, v, a); d.err != nil {
		return d
	}
	d.phase = Writing
	fresh := remembered(v, d.class, d.resp, start)
	if d.changed, d.err = r.replace(v, Generation{Files: d.resp.Files, Again: true}, m.after(fresh)); d.err != nil {
		return d
	}
	r.renewed(v.Target, fresh, d.changed)
	d.phase = Done
	return d
}

func (r *Volumes) stillMounted(target string) error {
	found, err := r.cfg.Files.Look(target)
	if err == nil && found.State != Complete {
		return errGone
	}
	return err
}

// keep leaves a volume as it is, because its class says so now. What failed before is of
// no interest any more.
func (r *Volumes) keep(ctx context.Context, target string, class Class) {
	r.mu.Lock()
	k := r.known[target]
	if k == nil {
		r.mu.Unlock()
		return
	}
	now := time.Now()
	k.memory.Never, k.memory.Interval, k.failure = class.Never, class.Interval, failure{}
	if was := k.memory.Ready; was.Type != "" && !was.OK {
		k.memory.Ready, k.memory.Changed, k.memory.Recorded = ready(now), now, false
	}
	r.times.succeed(now, target, k.memory.plan())
	m := k.memory
	r.mu.Unlock()
	r.remember(ctx, target, m, "note that a volume is not to be refreshed")
	if !m.Recorded {
		r.records.put(target, m.snapshot(target))
	}
}

// after is what a volume remembers after another fetch: what was recorded and told
// stays so if it is still true.
func (m memory) after(next memory) memory {
	if m.Volume == "" { // mounted by another driver
		return next
	}
	next.Told, next.Known = m.Told, m.Known
	if m.Synced.Type != "" && len(next.Secrets) > 0 {
		next.Synced = m.Synced
	}
	if m.Ready.OK {
		next.Ready = m.Ready
	}
	next.Unfilled = len(next.Secrets) > 0 && (m.Unfilled || !next.fillsLike(m))
	same := m.Ready.OK && !m.Truncated && slices.Equal(m.Versions, next.Versions) && (m.Synced.Type == "") == (next.Synced.Type == "")
	if same {
		next.Changed, next.Recorded = m.Changed, m.Recorded
	}
	return next
}

// renewed notes a refresh that succeeded.
func (r *Volumes) renewed(target string, fresh memory, changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[target]
	if k == nil {
		return
	}
	before := k.memory
	m := before.after(fresh) // its Secrets may have been filled meanwhile
	k.memory, k.remember, k.failure = m, true, failure{}
	r.times.succeed(time.Now(), target, m.plan())
	r.answered(m.Provider, k.class)
	r.compare(k)
	r.catchUp(target, k)
	if !m.Recorded {
		r.records.put(target, m.snapshot(target))
	}
	if changed || !before.isFrom(m.ClassUID, m.ClassGeneration) || m.unsynced() {
		r.fillLater(target, k)
	}
}

// catchUp has a volume refreshed again whose class changed while it was read. It
// needs r.mu.
func (r *Volumes) catchUp(target string, k *known) {
	if use := r.classes[k.class]; k.outdated && use != nil && use.state.UID != "" {
		r.times.change(time.Now(), k.class, use.state.forces(k.memory), func(t string) bool { return t == target })
	}
}

// answered notes that a provider did. It needs r.mu.
func (r *Volumes) answered(name string, class ClassName) {
	r.success[name] = time.Now()
	delete(r.down, circuitName{name, class})
	r.times.answered(time.Now(), name, class)
}

// refreshFailed notes why, and when to try again.
func (r *Volumes) refreshFailed(j job, d delivery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[j.target]
	if k == nil {
		return
	}
	kind, wait := provider.KindOf(d.err), time.Duration(0)
	if e, ok := errors.AsType[*provider.Error](d.err); ok {
		wait = e.RetryAfter
	}
	now := time.Now()
	r.times.fail(now, j.target, kind, wait)
	if k.failure.err == nil {
		k.failure.since = now
	}
	k.failure.tries++
	k.failure.reason, k.failure.err = d.why, d.err
	if passing(kind) {
		r.down[circuitName{k.memory.Provider, k.class}] = k.failure
	}
}

// lookForSubPaths warns once of containers that never see a refresh.
func (r *Volumes) lookForSubPaths(target string, v Volume) {
	r.mu.Lock()
	k := r.known[target]
	looked := k == nil || k.looked
	if k != nil {
		k.looked = true
	}
	r.mu.Unlock()
	if looked || !r.cfg.Mounts.Pinned(target) {
		return
	}
	r.tell(news{Notice: Notice{
		Pod: v.Pod, Class: v.className(), Reason: SubPathNeverRefreshed,
		Text: v.className().short() + ": a container mounts the volume with subPath and keeps the files of its start: " +
			"mount the whole volume, or restart the pod when its secrets change",
	}})
}
