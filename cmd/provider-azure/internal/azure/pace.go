package azure

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"golang.org/x/time/rate"

	"github.com/strongroom/strongroom/provider"
)

// Key Vault allows some 2,000 requests in 10 seconds to one vault, of all its clients.
// A node keeps below that by itself, and its refreshes leave room for first mounts.
const (
	requestsPerSecond = 150
	refreshPerSecond  = 100
)

// pace bounds the requests to one vault.
type pace struct {
	trouble

	all     *rate.Limiter
	refresh *rate.Limiter
}

func newPace() *pace {
	return &pace{
		all:     rate.NewLimiter(requestsPerSecond, requestsPerSecond),
		refresh: rate.NewLimiter(refreshPerSecond, refreshPerSecond),
	}
}

// wait returns when a request may be made. It is one of a refresh until ahead is closed;
// who had a turn already, and goes on, has none.
func (p *pace) wait(ctx context.Context, ahead <-chan struct{}) error {
	patience := time.Now().Add(maxPause)
	for {
		if err := p.waitAsTold(ctx, patience); err != nil {
			return err
		}
		err := p.waitBehind(ctx, ahead)
		if err == nil {
			err = p.all.Wait(ctx)
		}
		if err != nil {
			return provider.Errorf(provider.Throttled, "%w", outage{fmt.Errorf("too many requests to the vault are waiting on this node: %w", err)})
		}
		if !time.Now().Before(p.closedUntil()) { // as it was before all that waiting
			return nil
		}
	}
}

// waitBehind returns when a refresh may ask, or when somebody waits who goes before.
func (p *pace) waitBehind(ctx context.Context, ahead <-chan struct{}) error {
	if ahead == nil {
		return nil
	}
	select {
	case <-ahead:
		return nil
	default:
	}
	place := p.refresh.Reserve()
	timer := time.NewTimer(place.Delay())
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ahead:
		place.Cancel()
		return nil
	case <-ctx.Done():
		place.Cancel()
		return ctx.Err()
	}
}

// turns know which reads a first mount waits for, since it may have joined a refresh
// that is in no hurry. The zero value is ready.
type turns struct {
	mu  sync.Mutex
	all map[readKey]*turn
}

type turn struct {
	users int
	first bool // one of them is a first mount
	ahead chan struct{}
}

// take notes that somebody wants an answer, until done is called. Ahead is closed when
// one of those who want it is a first mount.
func (t *turns) take(key readKey, first bool) (ahead <-chan struct{}, done func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[readKey]*turn{}
	}
	mine := t.all[key]
	if mine == nil {
		mine = &turn{ahead: make(chan struct{})}
		t.all[key] = mine
	}
	if first && !mine.first {
		mine.first = true
		close(mine.ahead)
	}
	mine.users++
	return mine.ahead, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(t.all, key)
		}
	}
}

// maxPause bounds for how long a request waits since the vault wants that; whoever
// would wait for longer is told so at once.
const maxPause = 15 * time.Second

// waitAsTold returns when the vault wants requests again, unless that is later than
// somebody waits.
func (p *pace) waitAsTold(ctx context.Context, patience time.Time) error {
	until := p.closedUntil()
	left := time.Until(until)
	if left <= 0 {
		return nil
	}
	if until.After(patience) {
		return &provider.Error{
			Kind: provider.Throttled, RetryAfter: left,
			Err: outage{fmt.Errorf("the vault wants no requests for %s", left.Round(time.Second))},
		}
	}
	// Not everyone at once: other nodes were told the same.
	timer := time.NewTimer(left + rand.N(left/4+time.Millisecond)) //nolint:gosec // spreads load
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// trouble is what went wrong last, for those whose time is over while it is tried again.
type trouble struct {
	mu     sync.Mutex
	text   string
	at     time.Time
	closed time.Time
	pause  time.Duration // the last one of our own choice; 0 once there was an answer
}

// note looks at an answer.
func (t *trouble) note(resp *http.Response) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	switch {
	case resp.StatusCode < http.StatusBadRequest:
		t.text = ""
		if !now.Before(t.closed) {
			t.pause = 0
		}
	case resp.StatusCode != http.StatusUnauthorized: // that is how a vault begins
		t.text, t.at = resp.Request.URL.Hostname()+" answered "+resp.Status, now
	}
	if kindOf(resp.StatusCode) == provider.Throttled {
		t.throttle(now, retryAfter(resp))
	}
}

// throttle closes for as long as Azure says. If it does not, that is a second, and
// twice as long each time; what was under way by then says nothing new.
func (t *trouble) throttle(now time.Time, told time.Duration) {
	if told == 0 {
		if now.Before(t.closed) {
			return
		}
		t.pause = min(max(2*t.pause, time.Second), maxPause)
		told = t.pause
	}
	if until := now.Add(told); until.After(t.closed) {
		t.closed = until
	}
}

// recent is what there is to say; "" if it is long ago.
func (t *trouble) recent() string {
	const while = 2 * time.Minute
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.text == "" || time.Since(t.at) > while {
		return ""
	}
	return fmt.Sprintf("; %s %s ago", t.text, time.Since(t.at).Round(time.Second))
}

func (t *trouble) closedUntil() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

// watcher sees every answer of Azure, also those after which the SDK tries again.
type watcher struct {
	by    string
	host  string // of the vault; "" for any
	meter *meter
	seen  func(*http.Response)
}

// Do implements [policy.Policy].
func (w watcher) Do(req *policy.Request) (*http.Response, error) {
	host := strings.TrimSuffix(req.Raw().URL.Host, ":443") // as Azure does in the address of a next page
	if w.host != "" && !strings.EqualFold(host, w.host) {  // which could be anywhere
		return nil, &loginFailure{provider.Errorf(provider.Invalid, "the vault %s sends its client to another host: the token is not for that", w.host)}
	}
	resp, err := req.Next()
	if resp == nil {
		return resp, err
	}
	w.meter.answered(w.by, resp.StatusCode)
	w.seen(resp)
	checkChallenge(resp)
	return resp, err
}

// checkChallenge drops a challenge that the SDK would panic at.
func checkChallenge(resp *http.Response) {
	const header = "WWW-Authenticate"
	for part := range strings.FieldsSeq(resp.Header.Get(header)) {
		value, ok := strings.CutPrefix(part, "authorization=")
		if value = strings.Trim(value, "\","); ok && value != "" && strings.Count(value, "/") < 3 {
			resp.Header.Del(header)
			return
		}
	}
}

// maxPaces bounds what classes can make the provider remember.
const maxPaces = 256

// paceOf returns the pace of a vault, for all identities. It needs p.mu.
func (p *Provider) paceOf(url string) *pace {
	found := p.paces[url]
	if found == nil {
		if len(p.paces) >= maxPaces {
			clear(p.paces)
		}
		found = newPace()
		p.paces[url] = found
	}
	return found
}
