package rotation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
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
	// recordPatience bounds how long one try of a record gives way to publishes, and
	// mountHold how long one publish makes records wait.
	recordPatience = time.Second
	mountHold      = 250 * time.Millisecond
	drainPause     = 20 * time.Millisecond
	tellers        = 4               // providers told side by side of volumes that are gone
	maxGone        = 1024            // volumes whose providers are still to be told
	stuckAfter     = 5 * time.Minute // that records wait without one being tried
)

// Config is what Volumes needs.
type Config struct {
	Source  Source
	Cluster Cluster
	Files   Files
	Notes   Notes
	Meter   Meter
	// AllowOverrides lets a pod's volume attributes override class parameters.
	AllowOverrides bool
	Log            *slog.Logger
}

// Volumes keeps the volumes of one node. Its methods may be called concurrently.
type Volumes struct {
	cfg     Config
	records *backlog
	gone    chan memory // of volumes whose providers are to be told
	warned  chan warned // what pods' owners are to be told

	mu    sync.Mutex
	known map[string]*known // by target: what is mounted
	calls map[string]*call  // by target: what is being done

	mounts gate // first publishes go before records
}

// known is a mounted volume.
type known struct {
	volume   Volume // with its freshest tokens; without an ID until kubelet announced it
	memory   memory
	remember bool // there is a memory
	outdated bool // the class has changed since
}

// warned is a warning for a pod.
type warned struct {
	pod     provider.Pod
	warning Warning
}

// call is something under way for a target.
type call struct {
	quiet  bool // it leaves a mounted volume mounted, with its content
	cancel context.CancelFunc
	done   chan struct{}
}

// New returns Volumes; nothing is recorded until Run.
func New(cfg Config) (*Volumes, error) {
	switch {
	case cfg.Source == nil, cfg.Cluster == nil, cfg.Files == nil, cfg.Notes == nil, cfg.Meter == nil:
		return nil, errors.New("source, cluster, files, notes and meter are required")
	case cfg.Log == nil:
		return nil, errors.New("log is required")
	}
	return &Volumes{cfg: cfg, records: newBacklog(), gone: make(chan memory, maxGone), warned: make(chan warned, maxGone), known: map[string]*known{}, calls: map[string]*call{}}, nil
}

// Scan finds what an earlier process mounted, before calls are answered, and goes
// on with what that one left undone.
func (r *Volumes) Scan() error {
	all, err := r.cfg.Notes.Scan()
	for _, f := range all {
		if f.State != Complete {
			continue
		}
		m, ok := recall(f)
		r.mu.Lock()
		r.known[f.Target] = &known{memory: m, remember: ok}
		r.mu.Unlock()
		if ok && m.unfinished() {
			r.records.put(f.Target, m.snapshot(f.Target))
		}
	}
	return err
}

// Count is a number of volumes.
type Count struct {
	// Mounted volumes were published or announced by kubelet since the start.
	Mounted int
	// Unclaimed ones were found mounted at the start, and kubelet has not announced
	// them yet. It never does for a pod that is ending.
	Unclaimed int
	// Unrecorded are those whose status is still to be written.
	Unrecorded int
	// Outdated are those whose class is not what it was when their content was fetched.
	Outdated int
}

// Count counts the volumes.
func (r *Volumes) Count() Count {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := Count{Unrecorded: r.records.len()}
	for _, k := range r.known {
		if k.volume.ID == "" {
			n.Unclaimed++
		} else {
			n.Mounted++
		}
		if k.outdated {
			n.Outdated++
		}
	}
	return n
}

// ClassName names a class.
type ClassName struct{ Namespace, Name string }

// Classes lists the classes of mounted volumes.
func (r *Volumes) Classes() []ClassName {
	r.mu.Lock()
	defer r.mu.Unlock()
	used := map[ClassName]bool{}
	for _, k := range r.known {
		if k.remember {
			used[ClassName{k.memory.Pod.Namespace, k.memory.Class}] = true
		}
	}
	return slices.Collect(maps.Keys(used))
}

// ClassChanged tells what a class is now; with an empty UID it is gone. Volumes that
// were mounted from another state of it count as outdated.
func (r *Volumes) ClassChanged(name ClassName, uid string, generation int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, k := range r.known {
		if k.remember && k.memory.Pod.Namespace == name.Namespace && k.memory.Class == name.Name {
			k.outdated = k.memory.ClassUID != uid || k.memory.ClassGeneration != generation
		}
	}
}

// Run writes records, and tells providers of volumes that are gone, until ctx ends.
func (r *Volumes) Run(ctx context.Context) error {
	var group sync.WaitGroup
	for range tellers {
		group.Go(func() {
			for {
				select {
				case m := <-r.gone:
					r.cfg.Source.Unmounted(ctx, m.Provider, m.Volume)
				case w := <-r.warned:
					if err := r.cfg.Cluster.Warn(ctx, w.pod, w.warning); err != nil {
						r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "tell of a warning", slog.String("namespace", w.pod.Namespace),
							slog.String("pod", w.pod.Name), slog.String("err", err.Error()))
					}
				case <-ctx.Done():
					return
				}
			}
		})
	}
	r.record(ctx)
	group.Wait()
	return nil
}

func (r *Volumes) record(ctx context.Context) {
	r.records.run(ctx, recorders, func(ctx context.Context, s Snapshot) (err error) {
		defer func() {
			if recover() != nil {
				r.cfg.Log.LogAttrs(ctx, slog.LevelError, "record panicked", slog.String("stack", string(debug.Stack())))
				err = errors.New("record panicked")
			}
		}()
		r.mounts.wait(ctx, recordPatience)
		err = r.cfg.Cluster.Record(ctx, s)
		if err != nil {
			r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "record what is mounted: will retry", slog.String("volume", string(s.Volume)),
				slog.String("namespace", s.Pod.Namespace), slog.String("pod", s.Pod.Name), slog.String("err", err.Error()))
			return err
		}
		r.recorded(ctx, s)
		return nil
	})
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
	if k == nil || !k.remember || k.memory.Volume != s.Volume || !k.memory.Fetched.Equal(s.Fetched) {
		r.mu.Unlock()
		return
	}
	k.memory.Recorded = true
	text, err := k.memory.encode()
	r.mu.Unlock()
	if err == nil {
		err = r.cfg.Notes.Remember(s.Target, text)
	}
	if err != nil {
		r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "note that a volume is recorded", slog.String("volume", string(s.Volume)), slog.String("err", err.Error()))
	}
}

// Drain waits until all is recorded, or ctx ends.
func (r *Volumes) Drain(ctx context.Context) {
	for r.records.len() > 0 {
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
	if d := r.records.stuck(); d > stuckAfter {
		return fmt.Errorf("records of mounted volumes have waited for %v and none was tried", d.Round(time.Second))
	}
	return nil
}

// Publish returns nil only if the volume is mounted with all its files. A mounted
// volume is left as it is; its tokens are kept. An error has a [provider.Kind].
func (r *Volumes) Publish(ctx context.Context, v Volume) error {
	start := time.Now()
	mounted, err := r.republish(v)
	if mounted {
		r.cfg.Meter.Published("", Done, time.Since(start), nil)
		return nil
	}
	name, phase := "", Looking
	if err == nil {
		name, phase, err = r.publish(ctx, v)
	}
	took := time.Since(start)
	r.cfg.Meter.Published(name, phase, took, err)
	if err != nil {
		return err
	}
	r.enqueue(v.Target)
	r.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "published", slog.String("volume", string(v.ID)), slog.String("namespace", v.Pod.Namespace),
		slog.String("pod", v.Pod.Name), slog.String("class", v.Class), slog.String("provider", name), slog.Duration("took", took))
	return nil
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
	if k := r.known[v.Target]; k != nil {
		if k.volume.ID == "" {
			r.announce(v)
		}
		k.volume = v
		return true, nil
	}
	r.announce(v)
	m, ok := recall(found)
	r.known[v.Target] = &known{volume: v, memory: m, remember: ok}
	if ok && m.unfinished() {
		r.records.put(v.Target, m.snapshot(v.Target))
	}
	return true, nil
}

// announce looks at a mounted volume that kubelet names to this process for the first
// time. Overrides, as another driver allowed them, do not take its files away.
func (r *Volumes) announce(v Volume) {
	if len(v.Attributes) == 0 || r.cfg.AllowOverrides {
		return
	}
	select {
	case r.warned <- warned{v.Pod, Warning{"OverrideRefused", r.overrides(v)}}:
	default: // too many are waiting: those tell enough
	}
}

func (r *Volumes) overrides(v Volume) string {
	return fmt.Sprintf("volume attributes of the pod must not override parameters of secretproviderclass %s/%s, but %s would: "+
		"put them into the class, or start the driver with --allow-attribute-overrides",
		v.Pod.Namespace, v.Class, strings.Join(slices.Sorted(maps.Keys(v.Attributes)), ", "))
}

// takeTokens is all there is to do while something is done beside a mounted volume.
func (r *Volumes) takeTokens(v Volume) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	c, k := r.calls[v.Target], r.known[v.Target]
	if c == nil || !c.quiet || k == nil {
		return false
	}
	k.volume = v
	return true
}

func (r *Volumes) publish(ctx context.Context, v Volume) (name string, phase Phase, err error) {
	ctx, end, err := r.begin(ctx, v.Target, exclusive)
	if err != nil {
		return "", Looking, err
	}
	defer end()
	defer r.mounts.enter(mountHold)()
	class, err := r.cfg.Cluster.Class(ctx, v.Pod.Namespace, v.Class)
	if err != nil {
		return "", Classing, err
	}
	start := time.Now()
	resp, err := r.fetch(ctx, class, v)
	if err != nil {
		return class.Provider, Fetching, fmt.Errorf("failed to mount secrets store objects for pod %s/%s: %w", v.Pod.Namespace, v.Pod.Name, err)
	}
	m := memory{
		Volume: v.ID, Pod: v.Pod, Class: v.Class, ClassUID: class.UID, ClassGeneration: class.Generation,
		Provider: class.Provider, Versions: resp.Versions, Fetched: start,
	}
	if resp.Refresh > 0 {
		m.Due = start.Add(resp.Refresh)
	}
	if err := r.write(v, resp, m); err != nil {
		return class.Provider, Writing, fmt.Errorf("failed to mount secrets store objects for pod %s/%s: %w", v.Pod.Namespace, v.Pod.Name, err)
	}
	return class.Provider, Done, nil
}

func (r *Volumes) write(v Volume, resp *provider.Response, m memory) error {
	text, err := m.encode()
	if err != nil {
		return err
	}
	if _, err := r.cfg.Files.Replace(v.Target, Generation{Files: resp.Files, GID: v.GID, Memory: text}); err != nil {
		return err
	}
	r.mu.Lock()
	r.known[v.Target] = &known{volume: v, memory: m, remember: true}
	r.mu.Unlock()
	return nil
}

// enqueue has what is mounted recorded, unless it is gone already.
func (r *Volumes) enqueue(target string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.known[target]; k != nil && !k.memory.Recorded {
		r.records.put(target, k.memory.snapshot(target))
	}
}

func (r *Volumes) fetch(ctx context.Context, class Class, v Volume) (*provider.Response, error) {
	parameters, err := r.parameters(class, v)
	if err != nil {
		return nil, err
	}
	if v.Verify != nil {
		if err = v.Verify(ctx); err != nil {
			return nil, err
		}
	}
	resp, err := r.cfg.Source.Mount(ctx, class.Provider, &provider.Request{
		Volume: v.ID, Pod: v.Pod, Tokens: v.Tokens, Class: v.Class, Parameters: parameters, Secrets: v.Secrets,
		Mode: fileMode, TargetPath: v.Target,
	})
	if err == nil && ctx.Err() != nil {
		err = provider.Errorf(provider.Timeout, "the volume was given up meanwhile: %w", context.Cause(ctx))
	}
	return resp, err
}

func (r *Volumes) parameters(class Class, v Volume) (map[string]string, error) {
	where := "secretproviderclass " + v.Pod.Namespace + "/" + v.Class
	switch {
	case class.Provider == "":
		return nil, provider.Errorf(provider.Invalid, "%s: spec.provider is not set", where)
	case len(class.Parameters) == 0:
		return nil, provider.Errorf(provider.Invalid, "%s: spec.parameters is not set", where)
	case len(v.Attributes) > 0 && !r.cfg.AllowOverrides:
		return nil, provider.Errorf(provider.Invalid, "%s", r.overrides(v))
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
		return provider.Errorf(provider.Internal, "failed to clean and unmount target path %s: %w", target, err)
	}
	r.records.drop(target)
	r.mu.Lock()
	k := r.known[target]
	delete(r.known, target)
	r.mu.Unlock()
	if k != nil && k.remember {
		r.tell(k.memory)
	}
	return nil
}

// tell has a provider told that a volume is gone; not if too many wait for that.
func (r *Volumes) tell(m memory) {
	select {
	case r.gone <- m:
	default:
	}
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
