package kube

import (
	"context"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/strongroom/strongroom/api/v1"
)

// How long things are remembered, and how often those that are too old are looked for.
const (
	rememberUnused = 4 * lastRepeat
	sweepEvery     = 10 * time.Minute
)

// state is what this process knows of one Secret. Who has its turn may use it.
type state struct {
	turn chan struct{} // holds a token while nobody has the turn

	synced   *v1.SyncedSecret  // as it was when it was last read or written, claimed by the right class; or nil
	hash     hash              // of what this process wrote last
	agreed   *metav1.MicroTime // the fetch time that was noted for content of that hash
	verified time.Time         // when the Secret was last seen to hold it
	delay    time.Duration     // between repeats
	renewed  time.Time         // when the SyncedSecret was last made anew

	users int       // who have the turn or wait for it; guarded by states
	used  time.Time // guarded by states
}

// sure says whether the Secret held content a moment ago.
func (st *state) sure(h hash, now time.Time) bool {
	return st.hash == h && now.Sub(st.verified) < sure
}

// agrees says whether content of a hash is what was noted with a fetch time.
func (st *state) agrees(h hash, at *metav1.MicroTime) bool {
	return st.hash == h && st.agreed.Equal(at)
}

func (st *state) hasOwner(uid types.UID) bool {
	return st.synced != nil && hasOwner(st.synced, uid)
}

// states are the states of Secrets by name.
type states struct {
	mu    sync.Mutex
	all   map[string]*state
	swept time.Time
}

func newStates() states { return states{all: map[string]*state{}} }

// take waits for the turn at a Secret. It must be given back by calling done.
func (s *states) take(ctx context.Context, name string, now time.Time) (st *state, done func(), err error) {
	s.mu.Lock()
	st = s.all[name]
	if st == nil {
		st = &state{turn: make(chan struct{}, 1), delay: firstRepeat}
		st.turn <- struct{}{}
		s.all[name] = st
	}
	st.users++
	st.used = now
	s.mu.Unlock()
	select {
	case <-st.turn:
		return st, func() { st.turn <- struct{}{}; s.leave(st) }, nil
	case <-ctx.Done():
		s.leave(st)
		return nil, nil, ctx.Err()
	}
}

func (s *states) leave(st *state) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.users--
}

// sweep forgets states that nobody asked for in a day. That costs a request when they
// are asked for again, no more.
func (s *states) sweep(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.swept) < sweepEvery {
		return
	}
	s.swept = now
	for name, st := range s.all {
		if st.users == 0 && now.Sub(st.used) > rememberUnused {
			delete(s.all, name)
		}
	}
}

// memory keeps answers for a while.
type memory[T any] struct {
	mu      *sync.Mutex
	answers map[string]answer[T]
}

type answer[T any] struct {
	is    T
	until time.Time
}

func newMemory[T any]() memory[T] {
	return memory[T]{mu: &sync.Mutex{}, answers: map[string]answer[T]{}}
}

func (m memory[T]) get(name string, now time.Time) (is T, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.answers[name]
	if !ok || now.After(a.until) {
		return is, false
	}
	return a.is, true
}

func (m memory[T]) put(name string, is T, until time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers[name] = answer[T]{is: is, until: until}
}

func (m memory[T]) sweep(now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, a := range m.answers {
		if now.After(a.until) {
			delete(m.answers, name)
		}
	}
}
