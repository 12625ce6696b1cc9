package vault

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/coalesce"
)

// A volume that is not asked for any more, of which nobody says when it is gone, is
// taken to be in use for this long, or as many times the longest pause so far.
const (
	leastPatience = 5 * time.Minute
	manyPauses    = 3
)

// volume is one volume of a pod: what it got from Vault that is its alone. It is
// guarded by Provider.mu.
type volume struct {
	id      provider.VolumeID
	session *session
	held    map[heldKey]*held
	old     heldSet // replaced, and perhaps still in use
	first   map[vaultclass.Read]first
	known   coalesce.Known[vaultclass.Read] // when the reads of its content began
	tells   bool
	mounted bool // a mount has succeeded
	gone    bool
	last    time.Time // when a mount began
	pause   time.Duration
}

// heldKey is what was read, and as whom: sessions come and go.
type heldKey struct {
	identity identity
	read     vaultclass.Read
}

// held is what Vault made for one volume: a secret with a lease, a token, or a certificate.
type held struct {
	volume *volume
	key    heldKey
	reply  *reply
	token  *token
	lease  string // "" for a certificate, or a token
	term
	lost  bool // Vault does not know it any more
	timer *time.Timer
}

type heldSet map[*held]struct{}

// dependent says whether it ends when the token does that made it.
func (h *held) dependent() bool { return h.lease != "" || h.reply.secret.Auth != nil }

// end is when the content stops being valid, if nothing is prolonged: with its lease, or
// with the token that made it. Zero is never.
func (h *held) end() time.Time {
	end := h.expires
	if t := h.token; h.dependent() && !t.expires.IsZero() && (end.IsZero() || t.expires.Before(end)) {
		end = t.expires
	}
	return end
}

// replaceAt is when something new must take its place, which is when two thirds have
// passed of what remains to its lease or token and cannot be prolonged; zero if that is
// not known yet.
func (h *held) replaceAt() (at time.Time) {
	if h.lost {
		return h.from
	}
	terms := []*term{&h.term}
	if h.dependent() {
		terms = append(terms, &h.token.term)
	}
	for _, t := range terms {
		if t.expires.IsZero() || t.extends() {
			continue
		}
		rest := *t
		if rest.from.Before(h.reply.began) {
			rest.from = h.reply.began
		}
		if end := rest.part(percentOfUse); at.IsZero() || end.Before(at) {
			at = end
		}
	}
	return at
}

// usable says whether a volume that asks now can have it.
func (h *held) usable(now, notBefore time.Time) bool {
	const soon = time.Second // the driver would be back by then
	at := h.replaceAt()
	if h.reply.began.Before(notBefore) || !at.IsZero() && !now.Add(soon).Before(at) {
		return false
	}
	end := h.end()
	return end.IsZero() || now.Add(soon).Before(end)
}

// askAgain is when the driver is to ask again: also for what is prolonged, in time should
// that come to fail.
func (h *held) askAgain(now time.Time) time.Duration {
	at := h.replaceAt()
	if end := h.end(); !end.IsZero() {
		if soon := now.Add(end.Sub(now) / 100 * percentOfUse); at.IsZero() || soon.Before(at) {
			at = soon
		}
	}
	if at.IsZero() {
		return 0
	}
	return max(at.Sub(now), time.Second)
}

// isPrivate says whether the reply is for one volume only.
func (r *reply) isPrivate(read vaultclass.Read) bool {
	if r.secret == nil {
		return !isPublic(read)
	}
	return !isPublic(read) || r.secret.LeaseID != "" || r.secret.Auth != nil || r.secret.WrapInfo != nil
}

// keep notes what Vault made for a volume, if it is worth keeping: a lease or a
// certificate. A volume that has gone meanwhile has no use for it.
func (p *Provider) keep(m *mount, t *token, read vaultclass.Read, r *reply) {
	if r.secret == nil {
		return
	}
	h := &held{volume: m.volume, key: heldKey{t.session.identity, read}, reply: r, token: t, lease: r.secret.LeaseID}
	if h.lease != "" {
		h.term = newTerm(r.began, r.secret.LeaseDuration, r.secret.Renewable && t.uses < 0) // a renewal would be a use
	} else if r.secret.Auth != nil {
		h.term = newTerm(r.began, r.secret.Auth.LeaseDuration, false)
	} else if end := certificateEnd(read, r.secret.Data); !end.IsZero() {
		h.term = term{from: r.began, expires: end}
	} else {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.dependent() {
		t.held[h] = struct{}{}
		p.watchToken(t)
	}
	if m.volume.gone {
		p.revokeLease(h)
		return
	}
	if before := m.volume.held[h.key]; before != nil {
		m.volume.supersede(before)
	}
	m.volume.held[h.key] = h
	p.watchLease(h)
}

// certificateEnd is when a certificate ends that Vault issued; zero for anything else.
func certificateEnd(read vaultclass.Read, data map[string]any) time.Time {
	text, _ := data["certificate"].(string)
	if read.Method == http.MethodGet || text == "" || data["serial_number"] == nil {
		return time.Time{}
	}
	if seconds, ok := data["expiration"].(json.Number); ok {
		if at, err := seconds.Int64(); err == nil && at > 0 {
			return time.Unix(at, 0)
		}
	}
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return time.Time{}
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return time.Time{}
	}
	return c.NotAfter
}

// supersede puts something aside that another one has replaced. Its lease is not
// revoked: the pod may not have read the new one yet. It needs Provider.mu.
func (v *volume) supersede(h *held) {
	delete(v.held, h.key)
	stopTimer(h.timer)
	if h.dependent() {
		v.old[h] = struct{}{}
	}
}

// waitedFor says whether the volume is still asked for, as far as one can tell.
func (v *volume) waitedFor(now time.Time) bool {
	if v.gone {
		return false
	}
	if v.tells && v.mounted {
		return true
	}
	return now.Sub(v.last) < max(leastPatience, manyPauses*v.pause)
}

// watchLease has a lease renewed in time. It needs p.mu.
func (p *Provider) watchLease(h *held) {
	stopTimer(h.timer)
	if h.lease == "" || !h.extends() || h.expires.IsZero() {
		return
	}
	h.timer = p.later(until(h.part(percentOfRenewal)), func(ctx context.Context) { p.renewLease(ctx, h) })
}

// rearm has renewals go on that had stopped since nobody asked. It needs p.mu.
func (p *Provider) rearm(h *held) {
	if h.lease != "" && h.timer == nil {
		p.watchLease(h)
	}
	if h.dependent() && h.token.timer == nil {
		p.watchToken(h.token)
	}
}

// until is a little more or less than the time that is left, so that not all come at
// the same moment.
func until(at time.Time) time.Duration {
	left := time.Until(at)
	return left - time.Duration(rand.Float64()*0.2*float64(left)) //nolint:gosec // no secret
}

// renewLease prolongs a lease, or notes that it cannot be.
func (p *Provider) renewLease(ctx context.Context, h *held) {
	p.mu.Lock()
	now := time.Now()
	wanted := h.volume.held[h.key] == h && h.volume.waitedFor(now) && !h.lost
	if wanted {
		h.token.busy++
	} else {
		h.timer = nil
	}
	lease, seconds := h.lease, int(h.granted.Seconds())
	p.mu.Unlock()
	if !wanted {
		return
	}
	defer p.release(h.token)
	r, err := h.token.session.conn.do(ctx, leaseQuery(opRenewLease, h.token, map[string]any{"lease_id": lease, "increment": seconds}))
	dead := isDeadToken(err)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch kind := provider.KindOf(err); {
	case dead:
		p.bury(h.token)
	case err == nil && r.secret != nil:
		h.term = h.prolonged(now, r.secret.LeaseDuration, r.secret.Renewable)
		p.watchLease(h)
	case kind == provider.Invalid, kind == provider.NotFound:
		h.lost = true
	case kind == provider.Denied:
		h.capped = true
		p.warnOnce(ctx, h.token.session, "Vault does not let the provider renew leases: let the policies of the role update sys/leases/renew", err)
	case time.Now().Before(h.expires):
		h.timer = p.later(max(time.Second, until(time.Now().Add(time.Until(h.expires)/4))), func(ctx context.Context) { p.renewLease(ctx, h) })
	}
}

func leaseQuery(op operation, t *token, args map[string]any) query {
	path := "/v1/sys/leases/renew"
	if op == opRevokeLease {
		path = "/v1/sys/leases/revoke"
	}
	body, _ := json.Marshal(args) //nolint:errchkjson // texts and numbers
	return query{Read: vaultclass.Read{Method: http.MethodPut, Path: path, Args: string(body)}, operation: op, token: t.value}
}

// Unmounted implements [provider.Unmounter]: what was made for the volume is handed
// back to Vault.
func (p *Provider) Unmounted(_ context.Context, id provider.VolumeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if v := p.volumes[id]; v != nil {
		p.forgetVolume(v)
	}
}

// forgetVolume revokes the leases of a volume that is gone. It needs p.mu.
func (p *Provider) forgetVolume(v *volume) {
	delete(p.volumes, v.id)
	v.gone = true
	for _, h := range v.held {
		stopTimer(h.timer)
		p.revokeLease(h)
	}
	for h := range v.old {
		p.revokeLease(h)
	}
	if s := v.session; s != nil {
		delete(s.volumes, v.id)
		s.used = time.Now()
	}
}

// revokeLease hands a lease back, in the background. It needs p.mu.
func (p *Provider) revokeLease(h *held) {
	t := h.token
	if h.lease == "" || t.revoked || t.uses == 0 || h.ended(time.Now()) || p.isElsewhere(h) {
		p.dropHeld(h)
		return
	}
	t.use()
	p.soon(func(ctx context.Context) { p.tryRevoke(ctx, h, 0) })
}

// isElsewhere says whether another volume has the same lease, which a cache on the way
// to Vault can bring about. It needs p.mu.
func (p *Provider) isElsewhere(h *held) bool {
	for other := range h.token.held {
		if other.lease == h.lease && other.volume != h.volume && !other.volume.gone {
			return true
		}
	}
	return false
}

// tryRevoke gives up when Vault is away for long: then the lease runs out.
func (p *Provider) tryRevoke(ctx context.Context, h *held, tries int) {
	const most = 6
	_, err := h.token.session.conn.do(ctx, leaseQuery(opRevokeLease, h.token, map[string]any{"lease_id": h.lease}))
	if isOutage(err) && tries < most &&
		p.later(time.Second<<tries, func(ctx context.Context) { p.tryRevoke(ctx, h, tries+1) }) != nil {
		return
	}
	p.mu.Lock()
	if isForbidden(err) {
		h.token.untidy = true
		p.warnOnce(ctx, h.token.session, "Vault does not let the provider revoke the leases of pods that are gone; they end with their token: "+
			"let the policies of the role update sys/leases/revoke", err)
	}
	p.dropHeld(h)
	p.mu.Unlock()
	p.release(h.token)
}

// dropHeld forgets a lease. It needs p.mu.
func (p *Provider) dropHeld(h *held) {
	delete(h.token.held, h)
	delete(h.volume.old, h)
	p.tidy(h.token)
}

func stopTimer(t *time.Timer) {
	if t != nil {
		t.Stop()
	}
}

func (p *Provider) warnOnce(ctx context.Context, s *session, text string, err error) {
	if p.seen.First(s.identity.namespace + "/" + s.identity.role + "/" + text) {
		p.log.LogAttrs(ctx, slog.LevelWarn, text, slog.String("role", s.identity.role),
			slog.String("namespace", s.identity.namespace), slog.String("err", fmt.Sprint(err)))
	}
}

// openVolume notes that a mount begins. It needs p.mu.
func (p *Provider) openVolume(m *mount, req *provider.Request) {
	id := req.Volume
	if id == "" { // neither the driver nor the target path tells: one per pod and class then
		id = provider.VolumeID(req.Pod.UID + "/" + req.Class)
	}
	v := p.volumes[id]
	now := time.Now()
	if v == nil {
		v = &volume{id: id, held: map[heldKey]*held{}, old: heldSet{}, first: map[vaultclass.Read]first{}, last: now}
		p.volumes[id] = v
	}
	v.tells, v.pause, v.last = req.Tells, max(v.pause, now.Sub(v.last)), now
	m.volume = v
}

// settle notes that a mount has succeeded with these reads. What the volume held for
// others is put aside. It needs p.mu.
func (v *volume) settle(s *session, reads map[vaultclass.Read]*reply) {
	v.mounted, v.known = true, coalesce.Known[vaultclass.Read]{}
	for read, r := range reads {
		v.known[read] = r.began
	}
	for key, h := range maps.Clone(v.held) {
		if _, ok := reads[key.read]; !ok || key.identity != s.identity {
			v.supersede(h)
		}
	}
	maps.DeleteFunc(v.first, func(r vaultclass.Read, _ first) bool { _, ok := reads[r]; return !ok })
	if v.gone {
		return
	}
	if v.session != nil && v.session != s {
		delete(v.session.volumes, v.id)
	}
	v.session = s
	s.volumes[v.id] = struct{}{}
}
