package coalesce

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// Calls joins calls with equal keys. A key must hold everything that decides who may
// see the value.
type Calls[K comparable, V any] struct {
	// Keep is how long a value is handed to later callers, from the begin of its call.
	Keep time.Duration
	// Waits says that a Func waits for its turn, and then calls Begin: whoever asks before
	// that joins it.
	Waits bool
	// Log gets the stack of a call that panics.
	Log *slog.Logger

	mu    sync.Mutex
	calls map[K]*call[V]
}

// Func makes one call. It says whether other callers may have the value; if not,
// each of them makes a call of its own. An error goes to everyone who waits, and is
// not kept. The context does not end with that of one caller, but when all have left.
type Func[V any] func(ctx context.Context) (value V, share bool, err error)

type beginKey struct{}

// Begin says that the request of a Func, to which ctx was given, is made now.
func Begin(ctx context.Context) {
	if begin, ok := ctx.Value(beginKey{}).(func()); ok {
		begin()
	}
}

type call[V any] struct {
	began   time.Time // guarded by Calls.mu
	waits   bool      // the request is still to be made; guarded by Calls.mu
	done    chan struct{}
	cancel  context.CancelFunc
	waiting int  // guarded by Calls.mu
	alone   bool // each caller is on its own; set before done is closed
	value   V
	err     error
}

// Do returns the value of a call that began at notBefore or later: one that is under
// way, one that is kept, or f, and then own is true. It returns when ctx ends.
func (c *Calls[K, V]) Do(ctx context.Context, key K, notBefore time.Time, f Func[V]) (value V, own bool, err error) {
	found, mine := c.join(ctx, key, notBefore, f)
	if found != nil {
		select {
		case <-found.done:
		case <-ctx.Done():
			c.leave(key, found)
			return value, mine, ctx.Err()
		}
		if mine || found.err != nil || !found.alone {
			return found.value, mine, found.err
		}
	}
	value, _, err = c.guarded(ctx, f)
	return value, true, err
}

// join returns the call to wait for, and whether it was begun now; none if the caller
// has to make its own.
func (c *Calls[K, V]) join(ctx context.Context, key K, notBefore time.Time, f Func[V]) (found *call[V], mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	found = c.calls[key]
	if found != nil && isDone(found) && found.alone {
		return nil, true
	}
	if found == nil || !found.waits && found.began.Before(notBefore) {
		found, mine = c.begin(ctx, key, f), true
	}
	found.waiting++
	return found, mine
}

func isDone[V any](found *call[V]) bool {
	select {
	case <-found.done:
		return true
	default:
		return false
	}
}

// begin needs c.mu.
func (c *Calls[K, V]) begin(ctx context.Context, key K, f Func[V]) *call[V] {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	fresh := &call[V]{began: time.Now(), waits: c.Waits, done: make(chan struct{}), cancel: cancel}
	ctx = context.WithValue(ctx, beginKey{}, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		fresh.began, fresh.waits = time.Now(), false
	})
	if c.calls == nil {
		c.calls = map[K]*call[V]{}
	}
	c.calls[key] = fresh
	go func() {
		defer cancel()
		value, share, err := c.guarded(ctx, f)
		c.end(key, fresh, func() { fresh.value, fresh.alone, fresh.err = value, !share, err })
	}()
	return fresh
}

func (c *Calls[K, V]) guarded(ctx context.Context, f Func[V]) (value V, share bool, err error) {
	defer func() {
		if recover() == nil {
			return
		}
		if c.Log != nil { // what the panic says may hold a value; the stack does not
			c.Log.LogAttrs(ctx, slog.LevelError, "a call to the store panicked", slog.String("stack", string(debug.Stack())))
		}
		err = provider.Errorf(provider.Internal, "a call to the store panicked: see the provider's log for the stack, and report it")
	}()
	return f(ctx)
}

// end publishes the result, and keeps it for a while if others can use it. That a
// key is not to be shared is kept as long.
func (c *Calls[K, V]) end(key K, ended *call[V], publish func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	publish()
	ended.waits = false
	close(ended.done)
	rest := c.Keep - time.Since(ended.began)
	if ended.err != nil || rest <= 0 {
		c.drop(key, ended)
		return
	}
	if ended.alone { // the value is its owner's; those who wait do not need it
		c.calls[key] = &call[V]{began: ended.began, done: ended.done, alone: true}
		ended = c.calls[key]
	}
	time.AfterFunc(rest, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.drop(key, ended)
	})
}

// drop needs c.mu.
func (c *Calls[K, V]) drop(key K, which *call[V]) {
	if c.calls[key] == which {
		delete(c.calls, key)
	}
}

// leave ends a call that nobody waits for any more.
func (c *Calls[K, V]) leave(key K, left *call[V]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if left.waiting--; left.waiting > 0 || isDone(left) {
		return
	}
	c.drop(key, left)
	left.cancel()
}
