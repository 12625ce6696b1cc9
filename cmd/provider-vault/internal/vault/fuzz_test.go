package vault

import (
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/recall"
)

// FuzzReply has whatever a server answers go where replies go: nothing panics, and what
// comes out is either an error that quotes nothing or a file.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{
		loginReply, kv2(map[string]any{"k": "v"}), `{"data":{"k":null}}`, `{"data":{"data":{"k":[1,2.5e300,{"a":"<&>"}]}}}`,
		`{"lease_id":"a/b","lease_duration":-1,"renewable":true,"data":{"k":"v"}}`, `{"lease_id":"a","lease_duration":9223372036854775807,"data":{}}`,
		`{"data":{"certificate":"x","serial_number":"1","expiration":1e99}}`, `{"data":{"certificate":"x","serial_number":"1","expiration":4102444800}}`,
		`{"auth":{"client_token":"t","lease_duration":1,"mfa_requirement":{}},"wrap_info":{"token":"w"}}`, `{"errors":["x"]}`, `{"warnings":["a\nb",null]}`,
		``, `null`, `[]`, `"x"`, `{`, `{"data":"x"}`, `{"auth":[]}`, `{"data":{"k":"v"}} trailing`,
	} {
		f.Add(seed)
	}
	p := &Provider{
		log: slog.New(slog.DiscardHandler), volumes: map[provider.VolumeID]*volume{}, sessions: map[identity]*session{},
		hashKey: provider.NewHashKey(), memory: recall.NewMemory(maxLast), maxStale: time.Hour, cacheSize: 1, jobs: jobs{closed: true, log: slog.New(slog.DiscardHandler)},
	}
	f.Fuzz(func(t *testing.T, body string) {
		r, err := parseReply([]byte(body))
		if err != nil {
			if strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("the error quotes the reply: %v", err)
			}
			return
		}
		r.began = time.Now()
		_ = r.checkAuth("auth")
		handle(t, p, r)
	})
}

// handle takes a reply as that of a GET and as that of a PUT.
func handle(t *testing.T, p *Provider, r *reply) {
	get := vaultclass.Object{Name: "a", Path: "a", Key: "k", Encoding: "base64", Read: vaultclass.Read{Method: "GET", Path: "/v1/a"}}
	put := vaultclass.Object{Name: "b", Path: "b", Read: vaultclass.Read{Method: "PUT", Path: "/v1/b"}}
	s := &session{p: p, last: recall.NewShelf[vaultclass.Read, *reply](p.memory), first: map[vaultclass.Read]first{}, volumes: map[provider.VolumeID]struct{}{}}
	defer s.last.Close()
	m := &mount{
		caller: &caller{}, session: s,
		class:  &vaultclass.Class{Objects: []vaultclass.Object{get, put}, StaleIfError: time.Minute},
		volume: &volume{held: map[heldKey]*held{}, old: heldSet{}, first: map[vaultclass.Read]first{}},
	}
	s.noteLast(m, get.Read, r)
	resp, err := p.render(m, replies{get.Read: r, put.Read: r}, versions{key: []byte("k")})
	if err == nil && (len(resp.Files) != 2 || !json.Valid(resp.Files[1].Contents)) {
		t.Errorf("files %q", resp.Files)
	}
	for _, o := range []vaultclass.Object{get, put} {
		p.keep(m, &token{session: s, uses: -1, held: heldSet{}}, o.Read, r)
	}
	checkHeld(t, m, r)
	resp = &provider.Response{}
	if p.timing(m, resp); resp.Refresh < 0 {
		t.Errorf("refresh in %v", resp.Refresh)
	}
	p.forgetVolume(m.volume)
}

func checkHeld(t *testing.T, m *mount, r *reply) {
	plain := vaultclass.Read{Method: "GET"}
	if x := r.secret; x != nil && (x.LeaseID != "" || x.Auth != nil || x.WrapInfo != nil) && !r.isPrivate(plain) {
		t.Error("what is for one volume would be shared")
	}
	for _, h := range m.volume.held {
		at := h.replaceAt()
		if h.lease != "" && r.secret.LeaseDuration > 0 && (!h.expires.After(r.began) || !at.IsZero() && !at.After(r.began)) {
			t.Errorf("a lease of %d s ends at %v and is replaced at %v", r.secret.LeaseDuration, h.expires, at)
		}
	}
}
