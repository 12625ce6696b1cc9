package rotation

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// The waits between tries of one record.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 2 * time.Minute
)

// backlog holds what is still to be recorded: one snapshot per volume, the newest.
// A failed one is tried again later, and does not hold up the others.
type backlog struct {
	mu    sync.Mutex
	wake  *sync.Cond
	items map[string]*item
	queue []string  // keys of items whose time has come
	moved time.Time // when a worker last took an item, or had nothing to do
}

type item struct {
	snapshot Snapshot
	tries    int
	working  bool // a worker has it
	again    bool // a newer snapshot came meanwhile
}

func newBacklog() *backlog {
	b := &backlog{items: map[string]*item{}}
	b.wake = sync.NewCond(&b.mu)
	return b
}

// put asks for s to be recorded, instead of an older snapshot of the same key.
func (b *backlog) put(key string, s Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if it := b.items[key]; it != nil && it.working {
		it.snapshot, it.again = s, true
		return
	}
	b.items[key] = &item{snapshot: s}
	b.enqueue(key)
}

// drop forgets what is still to be recorded for key.
func (b *backlog) drop(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.items, key)
}

// len counts what is still to be recorded.
func (b *backlog) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.items)
}

// enqueue needs b.mu. A key may be queued twice: the second finds nothing to do.
func (b *backlog) enqueue(key string) {
	if len(b.queue) == 0 {
		b.moved = time.Now()
	}
	b.queue = append(b.queue, key)
	b.wake.Signal()
}

// run has workers call do for each item until ctx ends.
func (b *backlog) run(ctx context.Context, workers int, do func(context.Context, Snapshot) error) {
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.wake.Broadcast()
	})
	defer stop()
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for {
				key, it, s := b.next(ctx)
				if it == nil {
					return
				}
				b.finish(ctx, key, it, do(ctx, s))
			}
		})
	}
	group.Wait()
}

// next waits for an item that no worker has; nil means that ctx ended.
func (b *backlog) next(ctx context.Context) (string, *item, Snapshot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ctx.Err() == nil {
		if len(b.queue) == 0 {
			b.wake.Wait()
			continue
		}
		key := b.queue[0]
		b.queue = b.queue[1:]
		if it := b.items[key]; it != nil && !it.working {
			it.working, it.again = true, false
			b.moved = time.Now()
			return key, it, it.snapshot
		}
	}
	return "", nil, Snapshot{}
}

// stuck says for how long items have waited without a worker taking any.
func (b *backlog) stuck() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		b.moved = time.Now()
	}
	return time.Since(b.moved)
}

func (b *backlog) finish(ctx context.Context, key string, it *item, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	it.working = false
	switch {
	case b.items[key] != it: // dropped meanwhile
	case it.again:
		it.tries = 0
		b.enqueue(key)
	case err == nil:
		delete(b.items, key)
	case ctx.Err() == nil:
		it.tries++
		time.AfterFunc(retryAfter(it.tries), func() {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.enqueue(key)
		})
	}
}

// retryAfter doubles from firstRetry to lastRetry, with up to a fifth of jitter.
func retryAfter(tries int) time.Duration {
	wait := lastRetry
	if tries < 10 {
		wait = min(wait, firstRetry<<(tries-1))
	}
	return wait - time.Duration(rand.Int64N(int64(wait)/5)) //nolint:gosec // jitter needs no secrecy
}
