package azure

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Key Vault allows some 2,000 requests in 10 seconds to one vault, of all its clients.
// A node keeps below that by itself, and its refreshes leave room for first mounts.
const (
	requestsPerSecond = 150
	refreshShare      = 2.0 / 3
	// leastPerSecond is what a node asks for of a vault that thousands of them share.
	leastPerSecond = 0.2
	// firstRequests are begun at once with a vault of which nothing is known. Each that
	// is answered lets one more begin, until a second's worth was.
	firstRequests = 20
)

// flow is how many requests in a second a vault takes from this node. A refusal halves
// it, and answers let it grow: by little and a twentieth in each second in which it is
// used up.
type flow struct {
	waiting atomic.Int64

	mu      sync.Mutex
	rate    float64
	all     bucket
	refresh bucket
	spare   int       // requests that answers may still let begin
	cut     time.Time // when it became less; what was sent before says nothing new
	last    time.Time // of the answers
}

func newFlow(now time.Time) flow {
	return flow{
		rate: requestsPerSecond, spare: requestsPerSecond - firstRequests,
		all: bucket{tokens: firstRequests, at: now}, refresh: bucket{tokens: firstRequests, at: now},
	}
}

// bucket has a token for each request that may be made.
type bucket struct {
	tokens float64
	at     time.Time
}

// take returns 0 and takes a token, or says when there will be one.
func (b *bucket) take(now time.Time, rate, most float64) time.Duration {
	b.tokens = min(b.tokens+now.Sub(b.at).Seconds()*rate, most)
	b.at = now
	const nearly = 1 - 1e-6 // or rounding has somebody wait for nothing at all
	if b.tokens >= nearly {
		b.tokens--
		return 0
	}
	return time.Duration((1-b.tokens)/rate*float64(time.Second)) + 1
}

// most is how many requests may begin at once: all of a second if the vault takes
// whatever it is asked, else a few.
func (f *flow) most() float64 {
	if f.rate >= requestsPerSecond {
		return requestsPerSecond
	}
	return max(f.rate/10, 1)
}

// untilNext returns 0 and counts a request, or says when there may be one.
func (f *flow) untilNext(now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all.take(now, f.rate, f.most())
}

// untilRefresh is untilNext for what refreshes may have of it.
func (f *flow) untilRefresh(now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.refresh.take(now, f.rate*refreshShare, max(f.most()*refreshShare, 1))
}

// learn looks at the answer to a request that was made at sent.
func (f *flow) learn(status int, sent, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case status == http.StatusTooManyRequests:
		f.slower(sent, now)
	case hasRoom(status):
		f.faster(sent, now)
	}
}

// hasRoom says whether an answer is one that a vault with room gives, if only to say no.
// The first 401 is for a request without a token.
func hasRoom(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return status < http.StatusInternalServerError
}

// slower needs f.mu.
func (f *flow) slower(sent, now time.Time) {
	f.spare = 0
	if !sent.After(f.cut) {
		return
	}
	f.rate, f.cut = max(f.rate/2, leastPerSecond), now
	f.all.tokens, f.refresh.tokens = min(f.all.tokens, 1), min(f.refresh.tokens, 1)
}

// faster needs f.mu.
func (f *flow) faster(sent, now time.Time) {
	f.last = now
	if !sent.After(f.cut) {
		return
	}
	if f.spare > 0 {
		f.spare--
		f.all.tokens++
	}
	const each = 0.1 // of the rate, for one answer, so that few of them do not make much of it
	f.rate = min(f.rate+min(f.rate*each, (1+f.rate/20)/f.rate), requestsPerSecond)
}

// answered says whether the vault has answered somebody since.
func (f *flow) answered(since time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last.After(since)
}

// recent is what there is to say to those who waited for too long.
func (f *flow) recent() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rate >= requestsPerSecond {
		return ""
	}
	return fmt.Sprintf("; the vault throttles: %d requests of this node wait, and %.1f begin in a second", f.waiting.Load(), f.rate)
}
