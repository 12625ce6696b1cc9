package rotation

import (
	"context"
	"sync"
	"time"
)

// gate lets what can wait give way to what a pod is waiting for.
type gate struct {
	mu   sync.Mutex
	n    int           // that a pod is waiting for
	idle chan struct{} // closed when n is 0 again
}

// enter counts until leave is called, but not longer than hold: one that hangs must
// not be in the way of others.
func (g *gate) enter(hold time.Duration) (leave func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n++; g.n == 1 {
		g.idle = make(chan struct{})
	}
	once := sync.OnceFunc(g.leave)
	timer := time.AfterFunc(hold, once)
	return func() {
		timer.Stop()
		once()
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.n--; g.n == 0 {
		close(g.idle)
	}
}

// wait returns when nothing is in the way, or after the patience is over.
func (g *gate) wait(ctx context.Context, patience time.Duration) {
	g.mu.Lock()
	busy, idle := g.n > 0, g.idle
	g.mu.Unlock()
	if !busy {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-idle:
	case <-timer.C:
	case <-ctx.Done():
	}
}
