package vault

import (
	"time"

	"github.com/hashicorp/vault/api"
)

// token is what a login gave, or the operator. Everything is guarded by Provider.mu
// but value, which never changes.
type token struct {
	session *session
	value   string
	// began is when its login did; zero for one that is the operator's.
	began time.Time

	term              // how long it lives
	revocable bool    // batch tokens, those that cannot be renewed and the operator's are not
	uses      int     // how often it can still be used; negative for ever
	busy      int     // requests under way
	retired   bool    // nobody will use it again
	untidy    bool    // it has leases that should be gone, which Vault did not let us revoke
	revoked   bool    // or about to be
	held      heldSet // live leases that it made, which end when it does
	timer     *time.Timer
}

// term is how long a token or a lease lives.
type term struct {
	from      time.Time     // when Vault said it last
	expires   time.Time     // zero is never
	granted   time.Duration // what Vault gave at first
	renewable bool
	capped    bool // it cannot be prolonged as far as at first
}

// newTerm is what a reply says that was asked for at a time.
func newTerm(asked time.Time, seconds int, renewable bool) term {
	t := term{from: asked, granted: lasting(seconds), renewable: renewable}
	if seconds > 0 {
		t.expires = asked.Add(t.granted)
	}
	return t
}

// lasting keeps what a server says within what can be counted with.
func lasting(seconds int) time.Duration {
	const most = 100 * 365 * 24 * 3600
	return time.Duration(max(0, min(seconds, most))) * time.Second
}

// prolonged is the term after a renewal.
func (t term) prolonged(asked time.Time, seconds int, renewable bool) term {
	got := lasting(seconds)
	t.from, t.expires, t.renewable = asked, asked.Add(got), renewable
	t.capped = got < t.granted-time.Second // Vault counts in whole seconds
	return t
}

// extends says whether a renewal would gain time.
func (t *term) extends() bool { return t.renewable && !t.capped }

// part is when a share of the term, in percent, has passed; zero if it never ends.
func (t *term) part(percent int) time.Time {
	if t.expires.IsZero() {
		return time.Time{}
	}
	return t.from.Add(t.expires.Sub(t.from) / 100 * time.Duration(percent))
}

// over says whether the term ends so soon that a request might come too late.
func (t *term) over(now time.Time) bool {
	if t.expires.IsZero() {
		return false
	}
	margin := min(t.granted/10, 10*time.Second)
	return !now.Before(t.expires.Add(-margin))
}

// aged says whether it is time for another token, or to renew this one.
func (t *term) aged(now time.Time) bool {
	at := t.part(percentOfUse)
	return !at.IsZero() && !now.Before(at)
}

const (
	// percentOfUse is after which share of its term something is replaced, so that
	// the old and the new one overlap.
	percentOfUse = 67
	// percentOfRenewal is after which share of its term something is renewed.
	percentOfRenewal = 50
)

// spendable says whether a token can be used once more. With the last use Vault ends
// it, and the leases that it made.
func (t *token) spendable() bool {
	return t.uses < 0 || t.uses > 1 || t.uses == 1 && t.busy == 0 && len(t.held) == 0
}

// use counts a request that begins.
func (t *token) use() {
	if t.uses > 0 {
		t.uses--
	}
	t.busy++
}

// newToken takes the token out of the reply to a login.
func newToken(s *session, began time.Time, auth *api.SecretAuth, details authDetails) *token {
	t := &token{
		session: s, value: auth.ClientToken, began: began,
		term:      newTerm(began, auth.LeaseDuration, auth.Renewable),
		revocable: details.TokenType != "batch" && auth.Renewable, uses: -1, held: heldSet{},
	}
	if details.NumUses > 0 {
		t.uses, t.renewable = details.NumUses, false // a renewal would be a use
	}
	return t
}
