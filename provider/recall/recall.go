package recall

import (
	"sync"
	"time"
)

// Memory bounds what its shelves hold together; each of them has at most a quarter of
// it.
type Memory struct {
	max int

	mu   sync.Mutex
	used int // bytes
}

// NewMemory returns a memory of so many bytes.
func NewMemory(bytes int) *Memory { return &Memory{max: bytes} }

// Used is how many bytes are remembered.
func (m *Memory) Used() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.used
}

// Shelf is what one identity may see again.
type Shelf[K comparable, V any] struct {
	memory  *Memory
	entries map[K]Entry[V] // it and what follows are guarded by Memory.mu
	used    int
	closed  bool
}

// NewShelf returns a shelf, which has to be closed.
func NewShelf[K comparable, V any](m *Memory) *Shelf[K, V] {
	return &Shelf[K, V]{memory: m, entries: map[K]Entry[V]{}}
}

// Entry is a value that was read.
type Entry[V any] struct {
	Value V
	// Size is that of the value, in bytes.
	Size int
	// Began is when the call to the store began.
	Began time.Time
	// Until is when nobody will want the value any more.
	Until time.Time
}

// Put remembers a value instead of older ones with the key, if there is room for it.
func (s *Shelf[K, V]) Put(key K, e Entry[V]) {
	m := s.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if before, ok := s.entries[key]; ok {
		switch {
		case before.Began.After(e.Began):
			return
		case before.Began.Equal(e.Began) && before.Until.After(e.Until):
			e.Until = before.Until
		}
	}
	s.drop(key)
	if s.closed || m.used+e.Size > m.max || s.used+e.Size > m.max/4 {
		return
	}
	s.entries[key] = e
	s.used += e.Size
	m.used += e.Size
}

// Get returns a value whose call began at since or later.
func (s *Shelf[K, V]) Get(key K, since time.Time) (e Entry[V], ok bool) {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	e, ok = s.entries[key]
	if !ok || e.Began.Before(since) {
		return Entry[V]{}, false
	}
	return e, true
}

// Forget drops a value that the store does not give any more.
func (s *Shelf[K, V]) Forget(key K) {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	s.drop(key)
}

// Sweep drops what nobody wants any more, and says how many values are left.
func (s *Shelf[K, V]) Sweep(now time.Time) (left int) {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	for key, e := range s.entries {
		if now.After(e.Until) {
			s.drop(key)
		}
	}
	return len(s.entries)
}

// Close drops everything, and remembers nothing any more.
func (s *Shelf[K, V]) Close() {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	s.closed = true
	s.clear()
}

// Clear drops everything.
func (s *Shelf[K, V]) Clear() {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	s.clear()
}

// clear needs Memory.mu.
func (s *Shelf[K, V]) clear() {
	for key := range s.entries {
		s.drop(key)
	}
}

// drop needs Memory.mu.
func (s *Shelf[K, V]) drop(key K) {
	e, ok := s.entries[key]
	if !ok {
		return
	}
	delete(s.entries, key)
	s.used -= e.Size
	s.memory.used -= e.Size
}
