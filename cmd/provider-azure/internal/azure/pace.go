package azure

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"

	"github.com/strongroom/strongroom/provider"
)

// maxTries bounds how often a request is made that the vault wants later.
const maxTries = 4

// pace bounds the requests to one vault.
type pace struct {
	trouble
	flow

	front     line // of those who ask next
	refreshes line // of refreshes; only the first of them stands in the other one
}

func newPace() *pace {
	return &pace{flow: newFlow(time.Now()), front: make(line, 1), refreshes: make(line, 1)}
}

// do has a request made when the vault wants it, and again if it was refused for being
// one too many. It is one of a refresh until ahead is closed; who had a turn already,
// and goes on, has none.
func (p *pace) do(ctx context.Context, ahead <-chan struct{}, ask func(context.Context) error) error {
	began := time.Now()
	var last error
	for range maxTries {
		err := p.wait(ctx, ahead, began)
		switch {
		case err != nil && last != nil && ctx.Err() == nil:
			return last // in the vault's own words
		case err != nil:
			return err
		}
		if last = ask(ctx); !tooMany(last) {
			return last
		}
	}
	return last
}

// triedError marks what was tried again already: a page of a list, which is not begun
// anew for it.
type triedError struct{ error }

// Unwrap returns what is wrong.
func (e triedError) Unwrap() error { return e.error }

// tried marks an error, if it is one.
func tried(err error) error {
	if err == nil {
		return nil
	}
	return triedError{explained(err)}
}

// tooMany says whether a vault has refused a request since there are too many, and it
// can be made again.
func tooMany(err error) bool {
	if _, again := errors.AsType[triedError](err); again {
		return false
	}
	if _, login := errors.AsType[*loginFailure](err); err == nil || login {
		return false
	}
	if answer, ok := errors.AsType[*azcore.ResponseError](err); ok {
		return kindOf(answer.StatusCode) == provider.Throttled
	}
	return provider.KindOf(err) == provider.Throttled
}

// wait returns when a request may be made by somebody who has waited since began.
func (p *pace) wait(ctx context.Context, ahead <-chan struct{}, began time.Time) error {
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	if ahead != nil {
		behind, err := p.refreshes.enter(ctx, ahead)
		if err != nil {
			return err
		}
		if behind {
			defer p.refreshes.leave()
			if err := p.pass(ctx, ahead, func(now time.Time) (time.Duration, error) { return p.refreshAfter(now, began) }); err != nil {
				return err
			}
		}
	}
	if _, err := p.front.enter(ctx, nil); err != nil {
		return err
	}
	defer p.front.leave()
	return p.pass(ctx, nil, func(now time.Time) (time.Duration, error) { return p.untilNext(now, began) })
}

// pass returns when there is nothing left to wait for, or skip is closed.
func (*pace) pass(ctx context.Context, skip <-chan struct{}, left func(now time.Time) (time.Duration, error)) error {
	for {
		rest, err := left(time.Now())
		if err != nil || rest <= 0 {
			return err
		}
		timer := time.NewTimer(rest)
		select {
		case <-timer.C:
		case <-skip:
			timer.Stop()
			return nil
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}

// refreshAfter is for how long no refresh may stand in the line of all. One that would be
// told there that it waits in vain takes nothing from those behind it.
func (p *pace) refreshAfter(now, began time.Time) (time.Duration, error) {
	if _, err := p.closedFor(now, began); err != nil {
		return 0, err
	}
	return p.untilRefresh(now), nil
}

// untilNext is for how long nobody may ask; 0 lets one do so.
func (p *pace) untilNext(now, began time.Time) (time.Duration, error) {
	left, err := p.closedFor(now, began)
	switch {
	case err != nil:
		return 0, err
	case left > 0: // not everyone at once: other nodes were told the same
		return left + rand.N(left/4+time.Millisecond), nil //nolint:gosec // spreads load
	}
	return p.flow.untilNext(now), nil
}

// closedFor is for how long the vault wants no requests. Nobody waits on and on: not for
// a vault that wants nothing for long, and not in a line that hardly moves.
func (p *pace) closedFor(now, began time.Time) (time.Duration, error) {
	until := p.closedUntil()
	patience := maxPause
	if p.answered(began) {
		patience = maxWait
	}
	left := until.Sub(now)
	switch {
	case left > 0 && until.After(began.Add(patience)), left > maxPause:
		return 0, &provider.Error{
			Kind: provider.Throttled, RetryAfter: left,
			Err: outage{fmt.Errorf("the vault wants no requests for %s", left.Round(time.Second))},
		}
	case left <= 0 && now.Sub(began) > maxWait:
		return 0, provider.Errorf(provider.Throttled, "%w", crowded{outage{errors.New("too many requests to the vault are waiting on this node")}})
	}
	return max(left, 0), nil
}

// crowded marks what was told to somebody who has waited for too long.
type crowded struct{ error }

// Unwrap returns what is wrong.
func (c crowded) Unwrap() error { return c.error }

// isCrowded says whether somebody who comes now may have better luck than who got err.
func isCrowded(err error) bool {
	_, ok := errors.AsType[crowded](err)
	return ok
}

// maxPause bounds for how long a request waits since the vault wants that, and maxWait
// for how long while it answers others; whoever would wait for longer is told so.
const (
	maxPause = 15 * time.Second
	maxWait  = time.Minute
)

// seen looks at an answer to a request that was made at sent.
func (p *pace) seen(resp *http.Response, sent time.Time) {
	p.note(resp, sent)
	p.learn(resp.StatusCode, sent, time.Now())
}

// recent is what there is to say.
func (p *pace) recent() string { return p.trouble.recent() + p.flow.recent() }

// line lets one after the other in, in the order in which they came.
type line chan struct{}

// enter says whether the caller is the first one now. If not, skip was closed.
func (l line) enter(ctx context.Context, skip <-chan struct{}) (bool, error) {
	select {
	case <-skip:
		return false, nil
	default:
	}
	select {
	case l <- struct{}{}:
		return true, nil
	case <-skip:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func (l line) leave() { <-l }

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

// trouble is what went wrong last, for those whose time is over while it is tried again.
type trouble struct {
	mu     sync.Mutex
	text   string
	at     time.Time
	closed time.Time
	pause  time.Duration // the last one of our own choice; 0 once there was an answer
}

// note looks at an answer.
func (t *trouble) note(resp *http.Response, _ time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	switch {
	case resp.StatusCode < http.StatusBadRequest:
		t.text = ""
	case resp.StatusCode != http.StatusUnauthorized: // that is how a vault begins
		t.text, t.at = resp.Request.URL.Hostname()+" answered "+resp.Status, now
	}
	if hasRoom(resp.StatusCode) && !now.Before(t.closed) {
		t.pause = 0
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
