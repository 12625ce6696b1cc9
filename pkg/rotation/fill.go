package rotation

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/strongroom/strongroom/provider"
)

const (
	copiers = 4 // volumes whose Secrets are filled side by side
	// fillPatience is how long a publish waits for its Secrets.
	fillPatience = 5 * time.Second
	fillTimeout  = 30 * time.Second
	// repeatEvery is when a Secret of an earlier process is repeated at the latest, and
	// when a refused one is tried again.
	repeatEvery = 5 * time.Minute
)

// copying asks for the Secrets of a volume to be filled, or for one of them to be
// repeated.
type copying struct {
	repeat secretName // none: all of them
}

type secretName struct{ namespace, name string }

// filled is a Secret that volumes of this node fill.
type filled struct {
	users map[string]bool // their targets
	due   time.Time       // to be repeated
}

// fillFirst fills the Secrets of a volume that was just mounted, so that they are
// there when its pod starts; what does not succeed in time is done later.
func (r *Volumes) fillFirst(ctx context.Context, target string, d delivery) {
	if r.cfg.Secrets == nil || len(d.class.Secrets) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fillPatience)
	defer cancel()
	r.mu.Lock()
	k := r.known[target]
	if k == nil {
		r.mu.Unlock()
		return
	}
	m := k.memory
	r.mu.Unlock()
	if err := r.fill(ctx, filling{target: target, m: m, class: d.class, files: d.resp.Files}); err != nil {
		r.copies.put(target, copying{})
	}
}

// fillLater has the Secrets of a volume filled. It needs r.mu.
func (r *Volumes) fillLater(target string, k *known) {
	if r.cfg.Secrets != nil && k.remember {
		r.copies.put(target, copying{})
	}
}

// resumeSecrets goes on with Secrets of an earlier process. It needs r.mu.
func (r *Volumes) resumeSecrets(target string, k *known) {
	if len(k.memory.Secrets) > 0 && (!k.memory.Synced.OK || k.memory.Unfilled) {
		r.copies.put(target, copying{})
	}
	for _, name := range k.memory.Secrets {
		r.repeatAt(secretName{k.class.Namespace, name}, target, time.Now().Add(chance(repeatEvery)))
	}
}

// repeatAt needs r.mu.
func (r *Volumes) repeatAt(name secretName, target string, at time.Time) {
	f := r.filled[name]
	if f == nil {
		f = &filled{users: map[string]bool{}, due: at}
		r.filled[name] = f
	}
	f.users[target] = true
	f.due = at
}

// dropSecrets needs r.mu.
func (r *Volumes) dropSecrets(target string) {
	for name := range r.filled {
		r.unuse(name, target)
	}
}

// unuse notes that a volume does not fill a Secret any more. It needs r.mu.
func (r *Volumes) unuse(name secretName, target string) {
	f := r.filled[name]
	delete(f.users, target)
	if len(f.users) == 0 {
		delete(r.filled, name)
		r.copies.drop(name.key())
	}
}

func (n secretName) key() string { return "secret " + n.namespace + "/" + n.name }

// repeatSecrets needs r.mu.
func (r *Volumes) repeatSecrets(now time.Time) {
	for name, f := range r.filled {
		if now.Before(f.due) {
			continue
		}
		f.due = now.Add(repeatEvery) // unless its end says otherwise
		r.copies.put(name.key(), copying{repeat: name})
	}
}

// copy fills Secrets from what is mounted.
func (r *Volumes) copy(ctx context.Context, key string, c copying) (err error) {
	defer r.recovered(ctx, "fill", &err)
	target := key
	if c.repeat != (secretName{}) {
		if target = r.userOf(c.repeat); target == "" {
			return nil
		}
	}
	r.mounts.wait(ctx, patience)
	ctx, cancel := context.WithTimeout(ctx, fillTimeout)
	defer cancel()
	m, files, err := r.content(ctx, target)
	if err != nil || files == nil {
		return err
	}
	class, err := r.classOf(ctx, m.className())
	if provider.KindOf(err) == provider.NotFound { // what is filled stays
		return nil
	}
	if err != nil {
		return err
	}
	err = r.fill(ctx, filling{target, m, class, files, c.repeat})
	r.enqueue(target) // its condition may be another one
	return err
}

// userOf picks the volume of a Secret that was fetched last.
func (r *Volumes) userOf(name secretName) (target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.filled[name]
	if f == nil {
		return ""
	}
	last := time.Time{}
	for user := range f.users {
		if k := r.known[user]; k != nil && k.remember && (target == "" || k.memory.read().After(last)) {
			target, last = user, k.memory.read()
		}
	}
	return target
}

// content is what a volume holds, and since when; no files if it is gone.
func (r *Volumes) content(ctx context.Context, target string) (memory, []provider.File, error) {
	_, end, err := r.begin(ctx, target, quiet)
	if err != nil {
		return memory{}, nil, err
	}
	defer end()
	r.mu.Lock()
	k := r.known[target]
	if k == nil || !k.remember {
		r.mu.Unlock()
		return memory{}, nil, nil
	}
	m := k.memory
	r.mu.Unlock()
	files, err := r.cfg.Mounts.Read(target)
	return m, files, err
}

// filling is what Secrets are filled from.
type filling struct {
	target string
	m      memory
	class  Class
	files  []provider.File
	repeat secretName // none: all of the class
}

// fill fills the Secrets of a volume, or the one that is to be repeated. The error is
// one that may pass; what only a person can mend is noted, and tried again later.
func (r *Volumes) fill(ctx context.Context, f filling) error {
	var objects []SecretObject
	for _, object := range f.class.Secrets {
		if f.repeat == (secretName{}) || f.repeat == (secretName{f.m.Pod.Namespace, object.Name}) {
			objects = append(objects, object)
		}
	}
	errs := make([]error, len(objects))
	var group sync.WaitGroup
	for i, object := range objects {
		if slices.ContainsFunc(objects[:i], func(o SecretObject) bool { return o.Name == object.Name }) {
			errs[i] = &Refusal{Reason: SecretInvalid, Err: fmt.Errorf("secretObjects lists secret %s twice, and only the first counts", object.Name)}
			continue
		}
		group.Go(func() { errs[i] = r.fillOne(ctx, f, object) })
	}
	group.Wait()
	var failed error
	bad := failure{}
	for i, err := range errs {
		if err == nil {
			continue
		}
		if _, refused := errors.AsType[*Refusal](err); !refused {
			failed = errors.Join(failed, err)
		}
		if bad.err == nil {
			bad = failure{reason: SecretReason(err), about: objects[i].Name, err: err}
		}
	}
	r.noteFilled(f, bad, failed != nil || r.isOutdated(f))
	return failed
}

// isOutdated says whether the files are from another state of the class, and others come
// soon: those may be what its Secrets need.
func (r *Volumes) isOutdated(f filling) bool {
	return r.cfg.Interval > 0 && !f.class.Never && !f.m.isFrom(f.class.UID, f.class.Generation)
}

func (r *Volumes) fillOne(ctx context.Context, f filling, object SecretObject) (err error) {
	defer r.recovered(ctx, "fill", &err)
	c := Copy{Pod: f.m.Pod, Class: f.m.Class, Object: object, Files: f.files, Fetched: f.m.read(), Repeat: f.repeat != secretName{}}
	start := time.Now()
	again, err := r.cfg.Secrets.Fill(ctx, c)
	r.cfg.Meter.Filled(f.class.Provider, time.Since(start), err)
	if err != nil {
		again = repeatEvery
	}
	name := secretName{c.Pod.Namespace, c.Object.Name}
	r.mu.Lock()
	if r.known[f.target] != nil {
		r.repeatAt(name, f.target, time.Now().Add(again))
	}
	r.mu.Unlock()
	if !c.Repeat || err != nil {
		r.note(Entry{Trigger: OnSync, Pod: c.Pod, Class: c.Class, Provider: f.class.Provider, Secret: c.Object.Name, Changed: err == nil, Err: err})
	}
	if err != nil {
		r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "fill secret", slog.String("namespace", name.namespace), slog.String("secret", name.name),
			slog.String("class", c.Class), slog.String("pod", c.Pod.Name), slog.String("err", err.Error()))
	}
	return err
}

// noteFilled notes how it went. A failure that may pass counts once it lasts.
func (r *Volumes) noteFilled(f filling, bad failure, mayPass bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.known[f.target]
	if k == nil || k.memory.Volume != f.m.Volume {
		return
	}
	if f.repeat.name != "" && k.unfilled.err != nil && k.unfilled.about != f.repeat.name {
		return // it says nothing about the one that is wrong
	}
	r.useSecrets(f, k)
	now := time.Now()
	if bad.err != nil {
		bad.since, bad.tries = now, 1
		if k.unfilled.err != nil {
			bad.since, bad.tries = k.unfilled.since, k.unfilled.tries+1
		}
	}
	k.unfilled = bad
	switch {
	case len(f.class.Secrets) == 0:
		k.memory.become(Condition{})
	case bad.err == nil:
		k.memory.filled(f)
		k.memory.become(Condition{Type: Synced, OK: true, Reason: SyncedReason, Since: now})
		r.fillOthers(f)
	case !mayPass || bad.lasts(now):
		k.memory.become(Condition{Type: Synced, Reason: bad.reason, Text: bad.reason.about(bad.err.Error()), Since: now})
	}
}

// fillOthers has those filled whose Secret was refused when they asked for it, now that
// one volume got it: what they belong to is to be noted as well. It needs r.mu.
func (r *Volumes) fillOthers(f filling) {
	use := r.filled[secretName{f.m.Pod.Namespace, f.repeat.name}]
	if use == nil {
		return
	}
	for target := range use.users {
		if k := r.known[target]; k != nil && target != f.target && k.unfilled.err != nil {
			r.fillLater(target, k)
		}
	}
}

// useSecrets notes which Secrets the class of a volume asks for. It needs r.mu.
func (r *Volumes) useSecrets(f filling, k *known) {
	names := f.class.secretNames()
	if !slices.Equal(k.memory.Secrets, names) { // to be remembered, which is done when it is recorded
		k.memory.Secrets, k.memory.Changed, k.memory.Recorded = names, time.Now(), false
	}
	for name := range r.filled {
		if !slices.Contains(k.memory.Secrets, name.name) {
			r.unuse(name, f.target)
		}
	}
}

// filled notes that Secrets hold what the volume does, to be remembered with the next
// note that is made anyway.
func (m *memory) filled(f filling) {
	if f.repeat == (secretName{}) && f.m.fillsLike(*m) {
		m.Unfilled = false
	}
}

// become notes a condition of Secrets, to be recorded if it is another one.
func (m *memory) become(c Condition) {
	old := m.Synced
	if old.Type == c.Type && old.OK == c.OK && old.Reason == c.Reason {
		return
	}
	m.Synced, m.Changed, m.Recorded = c, time.Now(), false
}
