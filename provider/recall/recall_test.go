package recall

import (
	"testing"
	"time"
)

func at(seconds int) time.Time { return time.Unix(int64(seconds), 0) }

func entry(value string, size, began, until int) Entry[string] {
	return Entry[string]{Value: value, Size: size, Began: at(began), Until: at(until)}
}

func TestShelf(t *testing.T) {
	t.Parallel()
	m := NewMemory(1000)
	s := NewShelf[string, string](m)
	get := func(key string, since int) string {
		e, _ := s.Get(key, at(since))
		return e.Value
	}
	s.Put("a", entry("1", 100, 10, 20))
	s.Put("a", entry("older", 100, 9, 90))
	if get("a", 10) != "1" || get("a", 11) != "" || get("b", 0) != "" {
		t.Errorf("got %q, %q, %q", get("a", 10), get("a", 11), get("b", 0))
	}
	s.Put("a", entry("1", 100, 10, 15)) // somebody else wants it for a shorter time
	if left := s.Sweep(at(18)); left != 1 {
		t.Errorf("%d left", left)
	}
	s.Put("a", entry("2", 251, 12, 30)) // too big: but the older one is not what the store says now
	if get("a", 0) != "" || m.Used() != 0 {
		t.Errorf("got %q, used %d", get("a", 0), m.Used())
	}
	s.Put("a", entry("3", 250, 13, 30))
	s.Put("b", entry("4", 1, 13, 30))
	if get("a", 0) != "3" || get("b", 0) != "" || m.Used() != 250 {
		t.Errorf("got %q and %q, used %d", get("a", 0), get("b", 0), m.Used())
	}
}

// TestEmptying: what is dropped is gone, and its room free.
func TestEmptying(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*Shelf[string, string]){
		"forget": func(s *Shelf[string, string]) { s.Forget("a") },
		"sweep":  func(s *Shelf[string, string]) { s.Sweep(at(31)) },
		"clear":  func(s *Shelf[string, string]) { s.Clear() },
		"close": func(s *Shelf[string, string]) {
			s.Close()
			s.Put("a", entry("2", 9, 15, 30))
		},
	} {
		m := NewMemory(1000)
		s := NewShelf[string, string](m)
		s.Put("a", entry("1", 9, 14, 30))
		do(s)
		if _, ok := s.Get("a", at(0)); ok || m.Used() != 0 {
			t.Errorf("%s: there: %v, used %d", name, ok, m.Used())
		}
	}
}

// TestMemory: no identity takes what is there for all.
func TestMemory(t *testing.T) {
	t.Parallel()
	m := NewMemory(100)
	var shelves []*Shelf[int, string]
	for range 5 {
		s := NewShelf[int, string](m)
		for key := range 10 {
			s.Put(key, entry("x", 10, 1, 2))
		}
		shelves = append(shelves, s)
	}
	if m.Used() != 100 {
		t.Errorf("%d of 100 bytes are used", m.Used())
	}
	for i, s := range shelves {
		want := 20 // a quarter is no whole number of entries
		if got := s.Sweep(at(0)) * 10; got != want {
			t.Errorf("shelf %d holds %d bytes, want %d", i, got, want)
		}
		s.Close()
	}
	if m.Used() != 0 {
		t.Errorf("%d bytes are used by nothing", m.Used())
	}
}
