package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
)

// errPodsApart says that a login counts for one pod only, and that a session which
// was to be shared cannot be.
var errPodsApart = errors.New("the login counts for one pod only")

// login logs in as a caller. It needs no lock.
func (s *session) login(ctx context.Context, c *caller) (*token, error) {
	t, err := s.tryLogin(ctx, c)
	if err != nil && !errors.Is(err, errPodsApart) {
		err = fmt.Errorf("login with role %q: %w", c.role, err)
	}
	return t, err
}

func (s *session) tryLogin(ctx context.Context, c *caller) (*token, error) {
	path, err := vaultclass.LoginPath(c.mount)
	if err != nil {
		return nil, provider.Errorf(provider.Invalid, "%w", err)
	}
	body, err := json.Marshal(c.loginBody())
	if err != nil {
		return nil, provider.Errorf(provider.Internal, "make the login request: %w", err)
	}
	began := time.Now()
	r, err := s.conn.do(ctx, query{
		Read:      vaultclass.Read{Method: http.MethodPost, Path: path, Args: string(body)},
		operation: opLogin, secrets: c.secrets(),
	})
	if err != nil {
		return nil, err
	}
	if err := r.checkAuth(path); err != nil {
		return nil, err
	}
	t := newToken(s, began, r.secret.Auth, r.auth)
	if s.isShared(c) && !c.isKubernetes(r.secret.Auth.Metadata) {
		return t, errPodsApart
	}
	return t, nil
}

func (c *caller) loginBody() map[string]string {
	switch c.method {
	case vaultclass.AppRole:
		body := map[string]string{secretRoleID: string(c.roleID)}
		if c.secretID != "" {
			body[secretSecretID] = string(c.secretID)
		}
		return body
	case vaultclass.Cert:
		if c.role == "" {
			return map[string]string{}
		}
		return map[string]string{"name": c.role}
	}
	return map[string]string{"jwt": string(c.jwt), "role": c.role}
}

// isShared says whether the session is for all pods of a service account because
// Vault looks at nothing else of a token. That is so for Kubernetes auth; what mount
// a class names, only Vault's answer tells.
func (s *session) isShared(c *caller) bool {
	return c.method == vaultclass.Kubernetes && s.identity.pod == "" && !s.p.shareJWT
}

// isKubernetes says whether Vault's answer is that of Kubernetes auth to this caller.
func (c *caller) isKubernetes(metadata map[string]string) bool {
	return metadata["service_account_namespace"] == c.namespace &&
		metadata["service_account_name"] == c.account &&
		metadata["service_account_uid"] != "" && (c.accountUID == "" || metadata["service_account_uid"] == c.accountUID)
}

// checkAuth says what is wrong with the reply to a login.
func (r *reply) checkAuth(path string) error {
	switch {
	case r.secret == nil || r.secret.Auth == nil:
		return provider.Errorf(provider.Unavailable, "the reply of %s has no auth block: is this a login path of a Vault?", path)
	case r.secret.Auth.MFARequirement != nil:
		return provider.Errorf(provider.Denied, "%s asks for a second factor, which a pod cannot give", path)
	case r.secret.Auth.ClientToken == "":
		return provider.Errorf(provider.Unavailable, "the reply of %s has no client token", path)
	case strings.ContainsFunc(r.secret.Auth.ClientToken, func(c rune) bool { return !unicode.IsPrint(c) }):
		return provider.Errorf(provider.Unavailable, "the reply of %s has a client token with non-printable characters", path)
	}
	return nil
}

// renew prolongs a token. It needs no lock.
func (t *token) renew(ctx context.Context) (term, error) {
	s := t.session
	s.p.mu.Lock()
	before := t.term
	s.p.mu.Unlock()
	asked := time.Now()
	r, err := s.conn.do(ctx, query{
		Read: vaultclass.Read{
			Method: http.MethodPost, Path: "/v1/auth/token/renew-self",
			Args: fmt.Sprintf(`{"increment":%d}`, int(before.granted.Seconds())),
		},
		operation: opRenewToken, token: t.value,
	})
	if err != nil {
		return before, err
	}
	if r.secret == nil || r.secret.Auth == nil {
		return before, provider.Errorf(provider.Unavailable, "the reply to a token's renewal has no auth block")
	}
	return before.prolonged(asked, r.secret.Auth.LeaseDuration, r.secret.Auth.Renewable), nil
}

// vitality is what is known of whether Vault still knows a token.
type vitality int

const (
	unsure vitality = iota // Vault does not answer, or does not let the token ask
	alive
	dead
)

// vitality asks Vault.
func (t *token) vitality(ctx context.Context) vitality {
	_, err := t.session.conn.do(ctx, query{
		Read:      vaultclass.Read{Method: http.MethodGet, Path: "/v1/auth/token/lookup-self"},
		operation: opLookup, token: t.value,
	})
	switch {
	case err == nil:
		return alive
	case isDeadToken(err):
		return dead
	}
	return unsure
}
