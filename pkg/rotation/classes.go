package rotation

import (
	"context"
	"fmt"
	"maps"
	"time"
)

// ClassName names a class.
type ClassName struct{ Namespace, Name string }

// forces says whether the class asks for a refresh of a volume.
func (t Told) forces(m memory) bool { return t.Refresh != "" && t.Refresh != m.Refresh }

// classUse is a class that volumes of this node use, or calls under way.
type classUse struct {
	users int
	// class is as it was read last; nil if something newer was told since.
	class *Class
	// told counts what the watch told, and state is the last of it.
	told  int
	state Told
}

// Told is what a watch tells of a class: its state now.
type Told struct {
	// UID is empty if the class is gone.
	UID        string
	Generation int64
	// Refresh is the value of the annotation that forces a refresh.
	Refresh string
}

// is says whether a class was read in that state.
func (t Told) is(c Class) bool {
	return t.UID == c.UID && t.Generation == c.Generation && t.Refresh == c.Refresh
}

// isOlder says whether something newer was told already.
func (u *classUse) isOlder(t Told) bool {
	return u.told > 0 && t.UID == u.state.UID && t.Generation < u.state.Generation
}

// Classes lists the classes of mounted volumes.
func (r *Volumes) Classes() []ClassName {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := make([]ClassName, 0, len(r.classes))
	for name := range r.classes {
		names = append(names, name)
	}
	return names
}

// ClassChanged tells what a class is now. Volumes that were mounted from another state
// of it are refreshed soon, and their Secrets filled as it says now.
func (r *Volumes) ClassChanged(name ClassName, t Told) {
	r.mu.Lock()
	defer r.mu.Unlock()
	use := r.classes[name]
	if use == nil || use.isOlder(t) {
		return // of no interest, or from a cache that lags behind
	}
	use.told++
	use.state = t
	if use.class != nil && !t.is(*use.class) {
		use.class = nil
	}
	edited, forced := map[string]bool{}, map[string]bool{}
	for target, k := range r.known {
		if k.class != name || !k.remember {
			continue
		}
		r.compare(k)
		if !k.outdated || t.UID == "" {
			continue
		}
		if !k.memory.isFrom(t.UID, t.Generation) {
			edited[target] = true
			r.fillLater(target, k)
		}
		forced[target] = t.forces(k.memory)
	}
	now := time.Now()
	r.times.change(now, name, false, func(target string) bool { return edited[target] && !forced[target] })
	r.times.change(now, name, true, func(target string) bool { return forced[target] })
	r.wakeUp()
}

// compare notes whether a volume is from another state of its class than was told
// last. It needs r.mu.
func (r *Volumes) compare(k *known) {
	use := r.classes[k.class]
	if use == nil || use.told == 0 {
		return
	}
	t := use.state
	k.outdated = !k.memory.isFrom(t.UID, t.Generation) || t.forces(k.memory)
}

// use keeps a class in mind until done is called.
func (r *Volumes) use(name ClassName) (done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enter(name)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.leave(name)
	}
}

// enter needs r.mu.
func (r *Volumes) enter(name ClassName) {
	use := r.classes[name]
	if use == nil {
		use = &classUse{}
		r.classes[name] = use
	}
	use.users++
}

// leave needs r.mu.
func (r *Volumes) leave(name ClassName) {
	if use := r.classes[name]; use != nil {
		if use.users--; use.users == 0 {
			delete(r.classes, name)
			maps.DeleteFunc(r.down, func(c circuitName, _ failure) bool { return c.class == name })
			r.times.forgetClass(name)
		}
	}
}

// readClass gets a class that is in use as it is now. What the watch told before the
// answer was asked for is older than it; what it told since may be newer.
func (r *Volumes) readClass(ctx context.Context, name ClassName) (Class, error) {
	r.mu.Lock()
	before := r.told(name)
	r.mu.Unlock()
	class, err := r.cfg.Cluster.Class(ctx, name.Namespace, name.Name)
	if err != nil {
		return class, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	use := r.classes[name]
	if use == nil {
		return class, nil
	}
	if use.told == before {
		use.class = &class
		if use.told > 0 {
			use.state = Told{class.UID, class.Generation, class.Refresh}
		}
	}
	return class, nil
}

func (r *Volumes) told(name ClassName) int {
	if use := r.classes[name]; use != nil {
		return use.told
	}
	return 0
}

// classOf returns a class that is in use, without a request if nothing has changed
// since it was read.
func (r *Volumes) classOf(ctx context.Context, name ClassName) (Class, error) {
	r.mu.Lock()
	use := r.classes[name]
	if use != nil && use.class != nil {
		defer r.mu.Unlock()
		return *use.class, nil
	}
	r.mu.Unlock()
	class, err := r.readClass(ctx, name)
	if err != nil {
		return class, fmt.Errorf("failed to get %s: %w", name, err)
	}
	return class, nil
}

// String is what messages call a class.
func (n ClassName) String() string { return "secretproviderclass " + n.Namespace + "/" + n.Name }

// short is what the beginning of a message calls a class.
func (n ClassName) short() string { return "secretproviderclass " + short(n.Namespace+"/"+n.Name) }
