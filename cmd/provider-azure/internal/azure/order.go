package azure

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"
)

// firstFailure runs jobs that have an order. When one fails, those after it are not
// wanted any more; those before it are, since one of them may fail too.
type firstFailure struct {
	errgroup.Group

	mu     sync.Mutex
	after  map[int]context.CancelFunc
	failed int // meaningful if err is not nil
	err    error
}

func (f *firstFailure) run(ctx context.Context, i int, job func(context.Context) error) {
	ctx, cancel := context.WithCancel(ctx)
	f.mu.Lock()
	if f.after == nil {
		f.after = map[int]context.CancelFunc{}
	}
	f.after[i] = cancel
	skip := f.err != nil
	f.mu.Unlock()
	if skip {
		return
	}
	f.Go(func() error {
		if err := job(ctx); err != nil {
			f.note(i, err)
		}
		return nil
	})
}

func (f *firstFailure) note(i int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil && f.failed < i {
		return
	}
	f.failed, f.err = i, err
	for j, cancel := range f.after {
		if j > i {
			cancel()
		}
	}
}

// wait returns the error of the first job that failed.
func (f *firstFailure) wait() error {
	_ = f.Wait() // no job returns one
	for _, cancel := range f.after {
		cancel()
	}
	return f.err
}
