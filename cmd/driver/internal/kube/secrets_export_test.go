package kube

import "time"

// SetClock makes s believe in another time, and wait less for other nodes.
func (s *Secrets) SetClock(now func() time.Time, settle time.Duration) {
	s.now, s.settle = now, settle
}
