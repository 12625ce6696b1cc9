package kube

import (
	"context"
	"sync"

	"github.com/strongroom/strongroom/pkg/rotation"
)

// lookups shares requests for classes. Whoever asks gets an answer to a request that
// began after they asked, so nobody sees a class as it was before; those who ask
// while a request for the same class is under way share the next one.
type lookups struct {
	mu   sync.Mutex
	next map[rotation.ClassName]*lookup // the request that has not begun yet
	busy map[rotation.ClassName]bool    // a request is under way
}

type lookup struct {
	done  chan struct{}
	class rotation.Class
	err   error
}

func newLookups() *lookups {
	return &lookups{next: map[rotation.ClassName]*lookup{}, busy: map[rotation.ClassName]bool{}}
}

// get is given as a function that has a deadline of its own.
func (l *lookups) do(ctx context.Context, name rotation.ClassName, get func(context.Context, rotation.ClassName) (rotation.Class, error)) (rotation.Class, error) {
	l.mu.Lock()
	mine := l.next[name]
	if mine == nil {
		mine = &lookup{done: make(chan struct{})}
		l.next[name] = mine
	}
	if !l.busy[name] {
		l.busy[name] = true
		go l.run(context.WithoutCancel(ctx), name, get) // one caller's end is not that of the others
	}
	l.mu.Unlock()
	select {
	case <-mine.done:
		return mine.class, mine.err
	case <-ctx.Done():
		return rotation.Class{}, ctx.Err()
	}
}

func (l *lookups) run(ctx context.Context, name rotation.ClassName, get func(context.Context, rotation.ClassName) (rotation.Class, error)) {
	for {
		l.mu.Lock()
		mine := l.next[name]
		delete(l.next, name)
		if mine == nil {
			delete(l.busy, name)
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		mine.class, mine.err = get(ctx, name)
		close(mine.done)
	}
}
