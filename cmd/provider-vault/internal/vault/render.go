package vault

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
)

// reply is a successful answer of Vault; its secret is nil when there was no
// content.
type reply struct {
	secret *api.Secret
	size   int
	began  time.Time // when the request for it was made
	auth   authDetails
	query  query // what it answers; its secrets must not show
}

// authDetails are what the library leaves out of the reply to a login.
type authDetails struct {
	TokenType string `json:"token_type"`
	NumUses   int    `json:"num_uses"`
}

// parseReply reads a body. The decoder's own error is not passed on, since it
// may quote what it read.
func parseReply(body []byte) (*reply, error) {
	secret, err := api.ParseSecret(bytes.NewReader(body))
	if err != nil {
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, fmt.Errorf("the reply of %d bytes is not JSON from byte %d on", len(body), syntax.Offset)
		}
		return nil, fmt.Errorf("the reply of %d bytes does not have the shape of Vault's JSON", len(body))
	}
	r := &reply{secret: secret, size: len(body)}
	if secret != nil && secret.Auth != nil {
		var with struct {
			Auth authDetails `json:"auth"`
		}
		_ = json.Unmarshal(body, &with) // the zero value is the usual token
		r.auth = with.Auth
	}
	return r, nil
}

// warningsFrom lists Vault's warnings about a request.
func (r *reply) warningsFrom(read vaultclass.Read) (texts []string) {
	if r.secret == nil {
		return nil
	}
	const most = 8
	for _, w := range r.secret.Warnings[:min(len(r.secret.Warnings), most)] {
		texts = append(texts, "Vault warns about "+read.Path+": "+r.query.clean(w))
	}
	return texts
}

// render makes the content of an object's file.
func (r *reply) render(o *vaultclass.Object) ([]byte, error) {
	if r == nil || r.secret == nil || r.secret.Data == nil {
		return nil, r.empty(o)
	}
	if o.Key == "" {
		return whole(r.secret)
	}
	value, ok := vaultclass.Fields(r.secret.Data)[o.Key]
	if !ok {
		return nil, provider.Errorf(provider.NotFound, "{%s}: secretKey %q: key does not exist in the secret", o.Path, o.Key)
	}
	text, err := valueBytes(value)
	if err != nil {
		return nil, err
	}
	return decode(o, text)
}

func (r *reply) empty(o *vaultclass.Object) error {
	text := "no data in Vault's reply"
	if r != nil {
		text = strings.Join(append([]string{text}, r.warningsFrom(o.Read)...), "; ")
	}
	return provider.Errorf(provider.NotFound, "{%s}: empty response: %s", o.Path, oneLine(text))
}

// rendered is the content of a file, and what of it makes its version.
type rendered struct{ content, versioned []byte }

// first is what was around some data when it was first seen: ids and times of a reply
// that say nothing of the data.
type first struct {
	data   [sha256.Size]byte // keyed hash
	secret api.Secret        // without the data
}

// maxFirst bounds what a session remembers of whole responses.
const maxFirst = 1000

// renderOne makes the content of an object's file. As long as the data of a whole
// response is the same, so is the file.
func (p *Provider) renderOne(m *mount, o *vaultclass.Object, r *reply) (rendered, error) {
	content, err := r.render(o)
	if err != nil || o.Key != "" {
		return rendered{content, content}, err
	}
	data, err := json.Marshal(r.secret.Data)
	if err != nil {
		return rendered{}, provider.Errorf(provider.Internal, "the reply cannot be written as JSON")
	}
	seen := p.firstSeen(m, o.Read, r, p.hashKey.Sum(data))
	seen.Data = r.secret.Data
	content, err = whole(&seen)
	return rendered{content, data}, err
}

// firstSeen returns the reply that had the data first, without the data.
func (p *Provider) firstSeen(m *mount, read vaultclass.Read, r *reply, data [sha256.Size]byte) api.Secret {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := m.session.first
	if r.isPrivate(read) {
		seen = m.volume.first
	}
	if f, ok := seen[read]; ok && f.data == data {
		return f.secret
	}
	if len(seen) >= maxFirst {
		clear(seen)
	}
	f := first{data: data, secret: *r.secret}
	f.secret.Data = nil
	seen[read] = f
	return f.secret
}

// whole is the reply as JSON, its members in Vault's order and its data sorted.
func whole(s *api.Secret) ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, provider.Errorf(provider.Internal, "the reply cannot be written as JSON")
	}
	return text, nil
}

// valueBytes is a text as it is, anything else as compact JSON.
func valueBytes(value any) ([]byte, error) {
	text, err := vaultclass.Bytes(value)
	if err != nil {
		return nil, provider.Errorf(provider.Internal, "the value cannot be written as JSON")
	}
	return text, nil
}

func decode(o *vaultclass.Object, text []byte) ([]byte, error) {
	out, err := o.Decode(text)
	if err != nil {
		return nil, provider.Errorf(provider.Invalid, "{%s}: secretKey %q: the value is not %s", o.Path, o.Key, o.Decoding())
	}
	return out, nil
}
