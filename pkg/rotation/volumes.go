package rotation

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
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
	stuckAfter    = 5 * time.Minute    // that records wait without one being tried
)

// Config is what Volumes needs.
type Config struct {
	Source  Source
	Cluster Cluster
	Files   Files
	Meter   Meter
	// AllowOverrides lets a pod's volume attributes override class parameters.
	AllowOverrides bool
	Log            *slog.Logger
}

// Volumes keeps the volumes of one node. Its methods may be called concurrently.
type Volumes struct {
	cfg     Config
	records *backlog

	mu    sync.Mutex
	known map[string]Volume // by target: what is mounted, with its freshest tokens
	calls map[string]*call  // by target: what is being done
}

// call is a publish or an unpublish under way.
type call struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// New returns Volumes; nothing is recorded until Run.
func New(cfg Config) (*Volumes, error) {
	switch {
	case cfg.Source == nil, cfg.Cluster == nil, cfg.Files == nil, cfg.Meter == nil:
		return nil, errors.New("source, cluster, files and meter are required")
	case cfg.Log == nil:
		return nil, errors.New("log is required")
	}
	return &Volumes{cfg: cfg, records: newBacklog(), known: map[string]Volume{}, calls: map[string]*call{}}, nil
}

// Run writes records until ctx ends.
func (r *Volumes) Run(ctx context.Context) error {
	r.records.run(ctx, recorders, func(ctx context.Context, s Snapshot) error {
		err := r.cfg.Cluster.Record(ctx, s)
		if err != nil {
			r.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "record what is mounted: will retry", append(attrs(s.Volume), slog.String("err", err.Error()))...)
		}
		return err
	})
	return nil
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
	if mounted && err == nil {
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
	r.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "published", append(attrs(v), slog.String("provider", name), slog.Duration("took", took))...)
	return nil
}

// republish takes the tokens of a mounted volume; it waits for nothing.
func (r *Volumes) republish(v Volume) (mounted bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls[v.Target] != nil {
		return false, busy(v.Target)
	}
	state, err := r.cfg.Files.Look(v.Target)
	if err != nil || state != Complete {
		return false, err
	}
	r.known[v.Target] = v
	return true, nil
}

func (r *Volumes) publish(ctx context.Context, v Volume) (name string, phase Phase, err error) {
	ctx, end, err := r.begin(ctx, v.Target)
	if err != nil {
		return "", Looking, err
	}
	defer end()
	class, err := r.cfg.Cluster.Class(ctx, v.Pod.Namespace, v.Class)
	if err != nil {
		return "", Classing, err
	}
	resp, err := r.fetch(ctx, class, v)
	if err != nil {
		return class.Provider, Fetching, fmt.Errorf("failed to mount secrets store objects for pod %s/%s: %w", v.Pod.Namespace, v.Pod.Name, err)
	}
	if _, err := r.cfg.Files.Replace(v.Target, Generation{Files: resp.Files, GID: v.GID}); err != nil {
		return class.Provider, Writing, fmt.Errorf("failed to mount secrets store objects for pod %s/%s: %w", v.Pod.Namespace, v.Pod.Name, err)
	}
	r.mu.Lock()
	r.known[v.Target] = v
	r.mu.Unlock()
	r.records.put(v.Target, Snapshot{Volume: v, Versions: resp.Versions})
	return class.Provider, Done, nil
}

func (r *Volumes) fetch(ctx context.Context, class Class, v Volume) (*provider.Response, error) {
	parameters, err := r.parameters(class, v)
	if err != nil {
		return nil, err
	}
	resp, err := r.cfg.Source.Mount(ctx, class.Provider, &provider.Request{
		Pod: v.Pod, Tokens: v.Tokens, Class: v.Class, Parameters: parameters, Secrets: v.Secrets,
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
	case len(v.Attributes) == 0:
		return class.Parameters, nil
	case !r.cfg.AllowOverrides:
		return nil, provider.Errorf(provider.Invalid, "volume attributes of the pod must not override parameters of %s, but %s would: "+
			"put them into the class, or start the driver with --allow-attribute-overrides",
			where, strings.Join(slices.Sorted(maps.Keys(v.Attributes)), ", "))
	}
	parameters := maps.Clone(class.Parameters)
	maps.Copy(parameters, v.Attributes)
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
	_, end, err := r.begin(ctx, target)
	if err != nil {
		return err
	}
	defer end()
	r.records.drop(target)
	if err := r.cfg.Files.Remove(target); err != nil {
		return err
	}
	r.mu.Lock()
	delete(r.known, target)
	r.mu.Unlock()
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

// begin makes the caller the only one that works on target until it calls end.
func (r *Volumes) begin(ctx context.Context, target string) (context.Context, func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.calls[target] != nil {
		return nil, nil, busy(target)
	}
	ctx, cancel := context.WithCancel(ctx)
	c := &call{cancel: cancel, done: make(chan struct{})}
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

func attrs(v Volume) []slog.Attr {
	return []slog.Attr{
		slog.String("volume", string(v.ID)), slog.String("namespace", v.Pod.Namespace),
		slog.String("pod", v.Pod.Name), slog.String("class", v.Class),
	}
}
