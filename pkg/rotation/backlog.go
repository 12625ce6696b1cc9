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

// backlog holds what is still to be written: one thing per key, the newest. One that
// fails is tried again later, and does not hold up the others.
type backlog[T any] struct {
	mu    sync.Mutex
	wake  *sync.Cond
	items map[string]*item[T]
	queue []string  // keys of items whose time has come
	moved time.Time // when a worker last took an item, or had nothing to do
}

type item[T any] struct {
	value   T
	tries   int
	working bool // a worker has it
	again   bool // a newer value came meanwhile
}

func newBacklog[T any]() *backlog[T] {
	b := &backlog[T]{items: map[string]*item[T]{}}
	b.wake = sync.NewCond(&b.mu)
	return b
}

// put asks for v to be written, instead of an older value of the same key.
func (b *backlog[T]) put(key string, v T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if it := b.items[key]; it != nil && it.working {
		it.value, it.again = v, true
		return
	}
	b.items[key] = &item[T]{value: v}
	b.enqueue(key)
}

// drop forgets what is still to be written for key.
func (b *backlog[T]) drop(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.items, key)
}

// len counts what is still to be written.
func (b *backlog[T]) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.items)
}

// fresh counts what is still to be written and has not failed yet.
func (b *backlog[T]) fresh() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, it := range b.items {
		if it.tries == 0 {
			n++
		}
	}
	return n
}

// enqueue needs b.mu. A key may be queued twice: the second finds nothing to do.
func (b *backlog[T]) enqueue(key string) {
	if len(b.queue) == 0 {
		b.moved = time.Now()
	}
	b.queue = append(b.queue, key)
	b.wake.Signal()
}

// run has workers call do for each item until ctx ends.
func (b *backlog[T]) run(ctx context.Context, workers int, do func(ctx context.Context, key string, v T) error) {
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
				key, it, v := b.next(ctx)
				if it == nil {
					return
				}
				b.finish(ctx, key, it, do(ctx, key, v))
			}
		})
	}
	group.Wait()
}

// next waits for an item that no worker has; nil means that ctx ended.
func (b *backlog[T]) next(ctx context.Context) (key string, it *item[T], v T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ctx.Err() == nil {
		if len(b.queue) == 0 {
			b.wake.Wait()
			continue
		}
		key = b.queue[0]
		b.queue = b.queue[1:]
		if it = b.items[key]; it != nil && !it.working {
			it.working, it.again = true, false
			b.moved = time.Now()
			return key, it, it.value
		}
	}
	return "", nil, v
}

// stuck says for how long items have waited without a worker taking any.
func (b *backlog[T]) stuck() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.queue) == 0 {
		b.moved = time.Now()
	}
	return time.Since(b.moved)
}

func (b *backlog[T]) finish(ctx context.Context, key string, it *item[T], err error) {
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
