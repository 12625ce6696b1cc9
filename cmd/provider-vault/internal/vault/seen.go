package vault

import "sync"

// maxSeen bounds what is remembered; a text may be logged again after that.
const maxSeen = 4096

// seen remembers texts, so that what stays the same is logged once.
type seen struct {
	mu    sync.Mutex
	texts map[string]struct{}
}

// first says whether text is new.
func (s *seen) first(text string) bool {
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
