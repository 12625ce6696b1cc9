package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
)

// defaultAudience is that of the pod's token when the class names none.
const defaultAudience = "vault"

// session is a login of one identity at one Vault.
type session struct {
	conn *conn
	role string
}

// openSession logs in as the pod.
func (p *Provider) openSession(ctx context.Context, req *provider.Request, class *vaultclass.Class) (*session, error) {
	token, err := podToken(req, class.Audience)
	if err != nil {
		return nil, err
	}
	set := p.settings(class)
	conn, err := p.connect(set)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, role: class.Role}
	if err := s.login(ctx, set.authMount, token); err != nil {
		return nil, fmt.Errorf("%s: login with role %q: %w", nameObjects(class.Objects), class.Role, err)
	}
	return s, nil
}

func (p *Provider) settings(class *vaultclass.Class) settings {
	return resolve(p.env, p.flags, classLevel(class), p.agent)
}

// podToken finds the token that kubelet supplied for an audience.
func podToken(req *provider.Request, audience string) (provider.Secret, error) {
	if audience == "" {
		audience = defaultAudience
	}
	token := req.Tokens[audience]
	if token.Value == "" {
		return "", provider.Errorf(provider.Invalid,
			"no service account token for audience %q (there are: %s): add the audience to spec.tokenRequests of the CSIDriver object, "+
				"or name another one in the parameter audience", audience, audiences(req.Tokens))
	}
	if !token.Expires.IsZero() && !time.Now().Before(token.Expires) {
		return "", provider.Errorf(provider.Denied,
			"the service account token for audience %q expired at %s: kubelet supplies a new one with the next republish, "+
				"which needs spec.requiresRepublish of the CSIDriver object", audience, token.Expires.UTC().Format(time.RFC3339))
	}
	return token.Value, nil
}

func audiences(tokens provider.Tokens) string {
	if len(tokens) == 0 {
		return "none"
	}
	names := slices.Sorted(maps.Keys(tokens))
	return fmt.Sprintf("%q", names[:min(len(names), 8)])
}

// nameObjects names the objects for which a login is made.
func nameObjects(objects []vaultclass.Object) string {
	const most = 3
	var names []string
	for _, o := range objects[:min(len(objects), most)] {
		names = append(names, fmt.Sprintf("%q", o.Name))
	}
	text := "object " + strings.Join(names, ", ")
	if more := len(objects) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (s *session) login(ctx context.Context, mount string, token provider.Secret) error {
	path, err := vaultclass.LoginPath(mount)
	if err != nil {
		return provider.Errorf(provider.Invalid, "%w", err)
	}
	body, err := json.Marshal(map[string]string{"jwt": string(token), "role": s.role})
	if err != nil {
		return provider.Errorf(provider.Internal, "make the login request: %w", err)
	}
	s.conn.conceal(token)
	r, err := s.conn.do(ctx, vaultclass.Read{Method: http.MethodPost, Path: path, Args: string(body)})
	if err != nil {
		return err
	}
	return s.accept(path, r)
}

// accept takes the token out of the reply to a login.
func (s *session) accept(path string, r *reply) error {
	switch {
	case r.secret == nil || r.secret.Auth == nil:
		return provider.Errorf(provider.Unavailable, "the reply of %s has no auth block: is this a login path of a Vault?", path)
	case r.secret.Auth.MFARequirement != nil:
		return provider.Errorf(provider.Denied, "%s asks for a second factor, which a pod cannot give", path)
	case r.secret.Auth.ClientToken == "":
		return provider.Errorf(provider.Unavailable, "the reply of %s has no client token", path)
	}
	token := provider.Secret(r.secret.Auth.ClientToken)
	s.conn.conceal(token)
	s.conn.client.SetToken(string(token))
	return nil
}

// replies holds what was read, by request.
type replies map[vaultclass.Read]*reply

// readAll makes each distinct request once.
func (s *session) readAll(ctx context.Context, objects []vaultclass.Object) (replies, error) {
	got := replies{}
	total := 0
	for _, o := range objects {
		if got[o.Read] != nil {
			continue
		}
		r, err := s.conn.do(ctx, o.Read)
		if err != nil {
			return nil, fmt.Errorf("object %q: read %s with role %q: %w", o.Name, o.Read.Path, s.role, err)
		}
		if total += r.size; total > maxFiles {
			return nil, provider.Errorf(provider.TooLarge, "object %q: the secrets of the class exceed %d bytes", o.Name, maxFiles)
		}
		got[o.Read] = r
	}
	return got, nil
}
