package coalesce

import "time"

// Window is how old the call to the store may be that a mount is answered from.
const Window = 10 * time.Second

// NotBefore is when a call must have begun that a mount may be answered from, where
// forced is [github.com/strongroom/strongroom/provider.Request.NotBefore].
func NotBefore(forced time.Time) time.Time {
	at := time.Now().Add(-Window)
	if forced.After(at) {
		return forced
	}
	return at
}

// Known is when the calls began that a volume has its files from.
type Known[K comparable] map[K]time.Time

// NotBefore is when a call must have begun that is news to the volume: it is never
// answered by one that it has already.
func (k Known[K]) NotBefore(key K, otherwise time.Time) time.Time {
	if at, ok := k[key]; ok && !at.Before(otherwise) {
		return at.Add(1)
	}
	return otherwise
}
