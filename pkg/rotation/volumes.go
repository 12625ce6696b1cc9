package rotation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/strongroom/strongroom/provider"
)

const (
	fileMode      = fs.FileMode(0o644) // of files whose provider says nothing else
	unpublishWait = 5 * time.Second    // for a publish of the same volume to stop
	recorders     = 16                 // records written side by side
	// patience bounds how long one try of what can wait gives way to publishes, and
	// mountHold how long one publish makes it wait.
	patience   = time.Second
	mountHold  = 250 * time.Millisecond
	drainPause = 20 * time.Millisecond
	maxGone    = 1024            // volumes whose providers are still to be told
	stuckAfter = 5 * time.Minute // that records wait without one being tried
)

// Config is what Volumes needs.
type Config struct {
	Source  Source
	Cluster Cluster
	Files   Files
	Notes   Notes
	Mounts  Mounts
	// Secrets is nil where none are to be filled.
	Secrets Secrets
	Meter   Meter
	// Journal is nil where none is kept.
	Journal Journal
	// Interval is the time between two refreshes of a volume; 0 turns rotation off.
	Interval time.Duration
	// Node names this node. Its identities are refreshed at other times than those of
	// other nodes.
	Node string
	// AllowOverrides lets a pod's volume attributes override class parameters.
	AllowOverrides bool
	Log            *slog.Logger
}

// Volumes keeps the volumes of one node. Its methods may be called concurrently.
type Volumes struct {
	cfg     Config
	records *backlog[Snapshot]
	copies  *backlog[copying]
	gone    chan memory   // of volumes whose providers are to be told
	notices chan news     // what users are to be told
	kick    chan struct{} // the schedule may have something to do

	mu      sync.Mutex
	known   map[string]*known // by target: what is mounted
	calls   map[string]*call  // by target: what is being done
	classes map[ClassName]*classUse
	times   *schedule
	down    map[circuitName]failure // providers that did not answer, for a class
	filled  map[secretName]*filled
	causes  map[cause]*report    // what was told of
	success map[string]time.Time // by provider: when it answered last
	turned  time.Time            // when the clock was looked at last

	mounts gate // first publishes go before what can wait
}

// known is a mounted volume.
type known struct {
	volume   Volume // with its freshest tokens; without an ID until kubelet announced it
	class    ClassName
	memory   memory
	remember bool      // there is a memory
	outdated bool      // the class has changed since
	failure  failure   // of the last refresh; none if it succeeded
	unfilled failure   // of its Secrets
	looked   bool      // for subPaths
	untold   time.Time // when nobody heard that the content ends; zero if somebody did
}

// failure is why something could not be done; none if it has no error.
type failure struct {
	reason Reason
	about  string // a Secret, if it is about one
	err    error
	since  time.Time
	tries  int
}

// call is something under way for a target.
type call struct {
	quiet  bool // it leaves a mounted volume mounted, with a whole content
	cancel context.CancelFunc
	done   chan struct{}
}

// New returns Volumes; nothing is recorded until Run.
func New(cfg Config) (*Volumes, error) {
	switch {
	case cfg.Source == nil, cfg.Cluster == nil, cfg.Files == nil, cfg.Notes == nil, cfg.Mounts == nil, cfg.Meter == nil:
		return nil, errors.New("source, cluster, files, notes, mounts and meter are required")
	case cfg.Log == nil:
		return nil, errors.New("log is required")
	case cfg.Interval < 0:
		return nil, errors.New("the interval must not be negative")
	}
	return &Volumes{
		cfg: cfg, records: newBacklog[Snapshot](), copies: newBacklog[copying](),
		gone: make(chan memory, maxGone), notices: make(chan news, maxNotices), kick: make(chan struct{}, 1),
		known: map[string]*known{}, calls: map[string]*call{}, classes: map[ClassName]*classUse{},
		times: newSchedule(cfg.Interval, cfg.Node, chance), down: map[circuitName]failure{},
		filled: map[secretName]*filled{}, causes: map[cause]*report{}, success: map[string]time.Time{}, turned: time.Now(),
	}, nil
}

// chance is below the given time.
func chance(below time.Duration) time.Duration {
	if below <= 0 {
		return 0
	}
	return rand.N(below) //nolint:gosec // jitter needs no secrecy
}

// Scan finds what an earlier process mounted, before calls are answered, and goes
// on with what that one left undone.
func (r *Volumes) Scan() error {
	all, err := r.cfg.Notes.Scan()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range all {
		if f.State == Complete {
			m, ok := recall(f)
			k := &known{class: m.className(), memory: m, remember: ok}
			r.take(f.Target, k)
			r.resume(f.Target, k)
		}
	}
	return err
}

// take knows a volume from now on, instead of what was known. It needs r.mu.
func (r *Volumes) take(target string, k *known) {
	old := r.known[target]
	if k.class.Name != "" {
		r.enter(k.class)
	}
	if old != nil && old.class.Name != "" {
		r.leave(old.class)
	}
	r.known[target] = k
	if !k.remember && k.volume.ID == "" {
		return // nothing is known but that it is there
	}
	r.times.put(time.Now(), target, k.plan())
	r.wakeUp()
	if k.remember {
		r.compare(k)
		r.catchUp(target, k)
	}
}

// resume goes on with what an earlier process left undone. It needs r.mu.
func (r *Volumes) resume(target string, k *known) {
	if k.remember && k.memory.unfinished() {
		r.records.put(target, k.memory.snapshot(target))
	}
	if k.remember && r.cfg.Secrets != nil {
		r.resumeSecrets(target, k)
	}
}

// plan is what the schedule needs to know. A volume without memory was mounted by
// another driver, it is not known when.
func (k *known) plan() plan {
	if k.remember {
		return k.memory.plan()
	}
	return plan{class: k.class, account: k.volume.Pod.ServiceAccount}
}

// forget needs r.mu.
func (r *Volumes) forget(target string) *known {
	k := r.known[target]
	if k == nil {
		return nil
	}
	delete(r.known, target)
	r.times.remove(time.Now(), target)
	r.records.drop(target)
	r.copies.drop(target)
	r.dropSecrets(target)
	if k.class.Name != "" {
		r.leave(k.class)
	}
	return k
}

// Run refreshes volumes, writes records and fills Secrets, tells users and providers,
// until ctx ends.
func (r *Volumes) Run(ctx context.Context) error {
	var group sync.WaitGroup
	for range tellers {
		group.Go(func() { r.tellProviders(ctx) })
	}
	group.Go(func() { r.tellUsers(ctx) })
	group.Go(func() { r.turn(ctx) })
	group.Go(func() { r.copies.run(ctx, copiers, r.copy) })
	r.records.run(ctx, recorders, r.record)
	group.Wait()
	return nil
}

// record writes one record.
func (r *Volumes) record(ctx context.Context, _ string, s Snapshot) (err error) {
	defer r.recovered(ctx, "record", &err)
	r.mounts.wait(ctx, patience)
	if err = r.cfg.Cluster.Record(ctx, s); err != nil {
		r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "record what is mounted: will retry", slog.String("volume", string(s.Volume)),
			slog.String("namespace", s.Pod.Namespace), slog.String("pod", s.Pod.Name), slog.String("err", err.Error()))
		return err
	}
	r.recorded(ctx, s)
	return nil
}

// recovered makes an error of a panic: one volume must not end the work for the others.
func (r *Volumes) recovered(ctx context.Context, what string, err *error) {
	if recover() != nil {
		r.cfg.Log.LogAttrs(ctx, slog.LevelError, what+" panicked", slog.String("stack", string(debug.Stack())))
		*err = &Refusal{DriverFault, provider.Errorf(provider.Internal, "%s panicked: the log has more", what)}
	}
}

// recorded notes at the volume that its record is written. Should that fail, a
// later process compares the record once more and finds it equal.
func (r *Volumes) recorded(ctx context.Context, s Snapshot) {
	ctx, end, err := r.begin(ctx, s.Target, quiet)
	if err != nil {
		return // something newer is being done
	}
	defer end()
	r.mu.Lock()
	k := r.known[s.Target]
	if k == nil || !k.remember || k.memory.Volume != s.Volume || !k.memory.Changed.Equal(s.Changed) {
		r.mu.Unlock()
		return
	}
	k.memory.Recorded, k.memory.Known = true, true
	m := k.memory
	r.mu.Unlock()
	r.remember(ctx, s.Target, m, "note that a volume is recorded")
}

// remember has a volume remember m. Should that fail, the log says what for.
func (r *Volumes) remember(ctx context.Context, target string, m memory, what string) {
	text, err := m.encode()
	if err == nil {
		err = r.cfg.Notes.Remember(target, text)
	}
	if err != nil {
		r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, what, slog.String("volume", string(m.Volume)), slog.String("path", target), slog.String("err", err.Error()))
	}
}

// Drain waits until all is recorded and filled that has not failed yet, or ctx ends.
func (r *Volumes) Drain(ctx context.Context) {
	for r.records.fresh()+r.copies.fresh() > 0 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(drainPause):
		}
	}
}

// Alive returns an error if the work that is done beside calls does not advance,
// which a slow or failing cluster is no reason for: every try has a deadline.
func (r *Volumes) Alive(context.Context) error {
	if d := max(r.records.stuck(), r.copies.stuck()); d > stuckAfter {
		return fmt.Errorf("records of mounted volumes have waited for %v and none was tried", d.Round(time.Second))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := time.Since(r.turned); d > stuckAfter {
		return fmt.Errorf("the clock of refreshes stands still since %v", d.Round(time.Second))
	}
	return nil
}

// Publish returns nil only if the volume is mounted with all its files. A mounted
// volume is left as it is; its tokens are kept. An error has a [provider.Kind].
func (r *Volumes) Publish(ctx context.Context, v Volume) error {
	start := time.Now()
	mounted, err := r.republish(v)
	if mounted {
		r.cfg.Meter.Delivered(Delivery{Trigger: OnMount, Phase: Done, Took: time.Since(start)})
		return nil
	}
	var d delivery
	if err != nil {
		d = notMounted(v, Class{}, Looking, err)
	} else {
		d = r.publish(ctx, v)
	}
	d.took, d.changed = time.Since(start), d.err == nil
	r.delivered(v, OnMount, d)
	if d.err != nil {
		return d.err
	}
	r.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "published", slog.String("volume", string(v.ID)), slog.String("namespace", v.Pod.Namespace),
		slog.String("pod", v.Pod.Name), slog.String("class", v.Class), slog.String("provider", d.class.Provider), slog.Duration("took", d.took))
	r.fillFirst(ctx, v.Target, d)
	r.enqueue(v.Target)
	return nil
}

// delivery is what came of a fetch.
type delivery struct {
	class   Class
	resp    *provider.Response
	phase   Phase
	took    time.Duration
	changed bool
	err     error
	why     Reason // of err
}

// notDone is what came of a fetch that failed.
func notDone(class Class, phase Phase, err error) delivery {
	return delivery{class: class, phase: phase, err: err, why: reasonOf(phase, err)}
}

// delivered counts a delivery and enters it in the journal.
func (r *Volumes) delivered(v Volume, trigger Trigger, d delivery) {
	r.cfg.Meter.Delivered(Delivery{
		Trigger: trigger, Provider: d.class.Provider, Phase: d.phase, Took: d.took, Changed: d.changed, Err: d.err, Reason: d.why,
		Served: d.err == nil && d.resp != nil && !d.resp.Stale.IsZero(),
	})
	e := Entry{Trigger: trigger, Pod: v.Pod, Class: v.Class, Provider: d.class.Provider, Changed: d.changed, Err: d.err}
	if d.resp != nil {
		e.Versions = d.resp.Versions
	}
	r.note(e)
}

func (r *Volumes) note(e Entry) {
	if r.cfg.Journal != nil {
		e.Time = time.Now()
		r.cfg.Journal.Note(e)
	}
}

// republish takes the tokens of a mounted volume; it waits for nothing.
func (r *Volumes) republish(v Volume) (mounted bool, err error) {
	if r.takeTokens(v) {
		return true, nil
	}
	_, end, err := r.begin(context.Background(), v.Target, quiet)
	if err != nil {
		if r.takeTokens(v) { // a note began in between
			return true, nil
		}
		return false, err
	}
	defer end()
	found, err := r.cfg.Files.Look(v.Target)
	if err != nil || found.State != Complete {
		return false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.known[v.Target]; k != nil && (k.remember || k.volume.ID != "") {
		if k.volume.ID == "" {
			r.announce(v)
		}
		r.refreshTokens(k, v)
		return true, nil
	}
	r.announce(v)
	m, ok := recall(found)
	k := &known{volume: v, class: v.className(), memory: m, remember: ok}
	r.take(v.Target, k)
	r.resume(v.Target, k)
	return true, nil
}

// refreshTokens needs r.mu.
func (r *Volumes) refreshTokens(k *known, v Volume) {
	k.volume = v
	if _, _, asleep := r.times.trouble(v.Target); asleep && !expired(v.Tokens, time.Now()) {
		r.times.wake(time.Now(), v.Target)
		r.wakeUp()
	}
}

// announce looks at a mounted volume that kubelet names to this process for the first
// time. Overrides, as another driver allowed them, do not take its files away.
func (r *Volumes) announce(v Volume) {
	if len(v.Attributes) == 0 || r.cfg.AllowOverrides {
		return
	}
	r.tell(news{Notice: Notice{Pod: v.Pod, Class: v.className(), Reason: OverrideRefused, Text: v.className().short() + ": " + OverrideRefused.about(r.overrides(v))}})
}

func (r *Volumes) overrides(v Volume) string {
	return fmt.Sprintf("volume attributes of the pod must not override parameters of %s, but %s would: "+
		"put them into the class, or start the driver with --allow-attribute-overrides",
		v.className(), strings.Join(slices.Sorted(maps.Keys(v.Attributes)), ", "))
}

// takeTokens is all there is to do while something is done beside a mounted volume.
func (r *Volumes) takeTokens(v Volume) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, k := r.calls[v.Target], r.known[v.Target]
	if c == nil || !c.quiet || k == nil || !k.remember && k.volume.ID == "" {
		return false
	}
	r.refreshTokens(k, v)
	return true
}

func (r *Volumes) publish(ctx context.Context, v Volume) delivery {
	ctx, end, err := r.begin(ctx, v.Target, exclusive)
	if err != nil {
		return notMounted(v, Class{}, Looking, err)
	}
	defer end()
	defer r.mounts.enter(mountHold)()
	name := v.className()
	defer r.use(name)()
	class, err := r.readClass(ctx, name)
	if err != nil {
		d := notDone(class, Classing, err)
		d.err = Failed("failed to get "+name.short(), d.why, err)
		return d
	}
	start := time.Now()
	a, err := r.ask(class, v)
	if err != nil {
		return notMounted(v, class, Fetching, err)
	}
	resp, err := r.fetch(ctx, v, a)
	if err != nil {
		return notMounted(v, class, Fetching, err)
	}
	m := remembered(v, class, resp, start)
	if _, err := r.replace(v, Generation{Files: resp.Files}, m); err != nil {
		return notMounted(v, class, Writing, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered(class.Provider, name)
	r.take(v.Target, &known{volume: v, class: name, memory: m, remember: true})
	return delivery{class: class, resp: resp, phase: Done}
}

// notMounted is what came of a publish that failed.
func notMounted(v Volume, class Class, phase Phase, err error) delivery {
	d := notDone(class, phase, err)
	d.err = FailedMount(v.Pod, d.why, fmt.Errorf("%s: %w", v.className(), err))
	return d
}

// remembered is what a volume remembers of a fetch that began at start.
func remembered(v Volume, class Class, resp *provider.Response, start time.Time) memory {
	m := memory{
		Volume: v.ID, Pod: v.Pod, Class: v.Class, ClassUID: class.UID, ClassGeneration: class.Generation, Refresh: class.Refresh,
		Provider: class.Provider, Interval: class.Interval, Never: class.Never,
		Versions: resp.Versions, Fetched: start, Changed: start, Expires: resp.Expires, Served: resp.Stale,
		Ready: ready(start), Secrets: class.secretNames(),
	}
	if resp.Refresh > 0 {
		m.Due = start.Add(resp.Refresh)
	}
	return m
}

// replace makes a volume hold what was fetched.
func (r *Volumes) replace(v Volume, g Generation, m memory) (changed bool, err error) {
	g.GID = v.GID
	if g.Memory, err = m.encode(); err != nil {
		return false, err
	}
	return r.cfg.Files.Replace(v.Target, g)
}

// enqueue has what is mounted recorded, unless it is gone already.
func (r *Volumes) enqueue(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.known[target]; k != nil && k.remember && !k.memory.Recorded {
		r.records.put(target, k.memory.snapshot(target))
	}
}

// ask is what a provider is asked for.
type ask struct {
	provider   string
	parameters map[string]string
	current    []provider.Version
	notBefore  time.Time
}

// ask says what a class has its provider asked for.
func (r *Volumes) ask(class Class, v Volume) (ask, error) {
	parameters, err := r.parameters(class, v)
	return ask{provider: class.Provider, parameters: parameters}, err
}

// fetch asks a provider.
func (r *Volumes) fetch(ctx context.Context, v Volume, a ask) (*provider.Response, error) {
	if v.Verify != nil {
		if err := v.Verify(ctx); err != nil {
			return nil, notVerified(err)
		}
	}
	resp, err := r.cfg.Source.Mount(ctx, a.provider, &provider.Request{
		Volume: v.ID, Pod: v.Pod, Tokens: v.Tokens, Class: v.Class, Parameters: a.parameters, Secrets: v.Secrets,
		Mode: fileMode, TargetPath: v.Target, Current: a.current, NotBefore: a.notBefore,
	})
	if err == nil && ctx.Err() != nil {
		err = provider.Errorf(provider.Timeout, "the volume was given up meanwhile: %w", context.Cause(ctx))
	}
	return resp, err
}

// notVerified is the error of a volume whose tokens were not found to be kubelet's.
func notVerified(err error) error {
	if provider.KindOf(err) == provider.Invalid {
		return &Refusal{VolumeInvalid, err}
	}
	return &Refusal{APIServerFailed, err}
}

func (r *Volumes) parameters(class Class, v Volume) (map[string]string, error) {
	switch {
	case class.Provider == "":
		return nil, provider.Errorf(provider.Invalid, "spec.provider is not set")
	case len(class.Parameters) == 0:
		return nil, provider.Errorf(provider.Invalid, "spec.parameters is not set")
	case len(v.Attributes) > 0 && !r.cfg.AllowOverrides:
		return nil, &Refusal{OverrideRefused, provider.Errorf(provider.Invalid, "%s", r.overrides(v))}
	}
	parameters := maps.Clone(class.Parameters)
	maps.Copy(parameters, v.Attributes)
	maps.DeleteFunc(parameters, func(key, _ string) bool { return !provider.IsParameter(key) }) // tokens and identity are kubelet's to tell
	return parameters, nil
}

// Unpublish unmounts the volume at target, whatever was known of it, and stops a
// publish of it that is under way.
func (r *Volumes) Unpublish(ctx context.Context, id provider.VolumeID, target string) error {
	err := r.unpublish(ctx, target)
	r.cfg.Meter.Unpublished(err)
	if err == nil {
		r.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "unpublished", slog.String("volume", string(id)), slog.String("path", target))
	}
	return err
}

func (r *Volumes) unpublish(ctx context.Context, target string) error {
	if err := r.interrupt(ctx, target); err != nil {
		return err
	}
	_, end, err := r.begin(ctx, target, exclusive)
	if err != nil {
		return err
	}
	defer end()
	if err = r.cfg.Files.Remove(target); err != nil {
		return Failed("failed to clean and unmount target path "+target, UnmountFailed, provider.Errorf(provider.Internal, "%w", err))
	}
	r.mu.Lock()
	k := r.forget(target)
	r.mu.Unlock()
	if k != nil && k.remember {
		select {
		case r.gone <- k.memory:
		default: // too many wait for that
		}
	}
	return nil
}

// interrupt cancels what is done for a target, and waits a little for its end.
func (r *Volumes) interrupt(ctx context.Context, target string) error {
	r.mu.Lock()
	c := r.calls[target]
	r.mu.Unlock()
	if c == nil {
		return nil
	}
	c.cancel()
	ctx, cancel := context.WithTimeout(ctx, unpublishWait)
	defer cancel()
	select {
	case <-c.done:
		return nil
	case <-ctx.Done():
		return busy(target)
	}
}

// The kinds of calls.
const (
	quiet     = true
	exclusive = false
)

// begin makes the caller the only one that works on target until it calls end.
func (r *Volumes) begin(ctx context.Context, target string, quiet bool) (context.Context, func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls[target] != nil {
		return nil, nil, busy(target)
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &call{quiet: quiet, cancel: cancel, done: make(chan struct{})}
	r.calls[target] = c
	return ctx, func() {
		r.mu.Lock()
		delete(r.calls, target)
		r.mu.Unlock()
		cancel()
		close(c.done)
	}, nil
}

func busy(target string) error {
	return provider.Errorf(provider.Busy, "another call for the volume at %s is under way", target)
}
