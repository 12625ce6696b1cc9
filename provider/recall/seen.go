package recall

import "sync"

// maxSeen bounds what is remembered; a text may be logged again after that.
const maxSeen = 4096

// Seen remembers texts, so that what stays the same is logged once.
type Seen struct {
	mu    sync.Mutex
	texts map[string]struct{}
}

// First says whether a text is new.
func (s *Seen) First(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.texts[text]; ok {
		return false
	}
	if s.texts == nil || len(s.texts) >= maxSeen {
		s.texts = map[string]struct{}{}
	}
	s.texts[text] = struct{}{}
	return true
}
