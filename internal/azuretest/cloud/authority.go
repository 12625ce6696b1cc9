package cloud

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	federation    = "adfs"
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	signerID      = "test-signer"
	exchange      = "api://AzureADTokenExchange"
)

// headers that the authentication library adds to requests for the authority.
func librarys() []string {
	return []string{
		"Content-Type", "X-Client-Sku", "X-Client-Ver", "X-Client-Os", "X-Client-Cpu",
		"X-Client-Current-Telemetry", "X-Client-Last-Telemetry", "X-Anchormailbox",
	}
}

// door is a way to the sign-in service, and what is asked of who comes that way.
type door struct {
	discovery, tokens string // what faults call them
	proves            func(*Application, form) *refusal
	count             func(client string, given bool)
}

// authority answers as the sign-in service of a cloud does, for a path below its URL.
func (c *Cloud) authority(w http.ResponseWriter, r *http.Request, path string, d door) {
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	v2 := "v2.0/"
	if strings.EqualFold(tenant, federation) {
		v2 = ""
	}
	get := shape{method: http.MethodGet, headers: librarys(), fault: d.discovery}
	switch strings.TrimSuffix(rest, "/") {
	case v2 + ".well-known/openid-configuration":
		c.told(w, r, get, func() { c.openid(w, tenant) })
	case "discovery/" + v2 + "keys":
		c.told(w, r, get, func() { c.signingKeys(w) })
	case "oauth2/" + v2 + "token":
		post := shape{method: http.MethodPost, headers: librarys(), body: true}
		c.told(w, r, post, func() { c.token(w, r, tenant, d) })
	case "discovery/instance":
		c.violate(w, r, "instance discovery for an authority that is not one of Azure's own")
	default:
		c.violate(w, r, "unknown path of the authority")
	}
}

// told answers, unless the request has not the shape or a fault is due.
func (c *Cloud) told(w http.ResponseWriter, r *http.Request, s shape, answer func()) {
	if reason := s.wrong(r); reason != "" {
		c.violate(w, r, reason)
		return
	}
	if s.fault != "" && c.fails(w, r, target{where: s.fault}) {
		return
	}
	answer()
}

func (c *Cloud) openid(w http.ResponseWriter, name string) {
	c.mu.Lock()
	tenant, ok := c.state.Tenant(name)
	c.tally.Discoveries++
	c.mu.Unlock()
	switch {
	case !ok:
		c.refuse(w, unknownTenant(name))
	case tenant.ID == federation:
		base := c.Authority() + federation
		write(w, http.StatusOK, map[string]any{
			"issuer":                 base,
			"authorization_endpoint": base + "/oauth2/authorize/",
			"token_endpoint":         base + "/oauth2/token/",
			"jwks_uri":               base + "/discovery/keys",
			"token_endpoint_auth_methods_supported": []string{
				"client_secret_post", "client_secret_basic", "private_key_jwt", "windows_client_authentication",
			},
			"grant_types_supported": []string{"client_credentials"},
		})
	default:
		base := c.Authority() + tenant.ID
		write(w, http.StatusOK, map[string]any{
			"token_endpoint":                        base + "/oauth2/v2.0/token",
			"token_endpoint_auth_methods_supported": []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
			"jwks_uri":                              base + "/discovery/v2.0/keys",
			"response_modes_supported":              []string{"query", "fragment", "form_post"},
			"subject_types_supported":               []string{"pairwise"},
			"id_token_signing_alg_values_supported": []string{"RS256"},
			"response_types_supported":              []string{"code", "id_token", "code id_token", "id_token token"},
			"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
			"issuer":                                base + "/v2.0",
			"request_uri_parameter_supported":       false,
			"authorization_endpoint":                base + "/oauth2/v2.0/authorize",
			"device_authorization_endpoint":         base + "/oauth2/v2.0/devicecode",
			"http_logout_supported":                 true,
			"frontchannel_logout_supported":         true,
			"end_session_endpoint":                  base + "/oauth2/v2.0/logout",
		})
	}
}

func (c *Cloud) signingKeys(w http.ResponseWriter) {
	k, err := jwkOf(c.signer.Public())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	k.Kid, k.Use = signerID, "sig"
	write(w, http.StatusOK, map[string]any{"keys": []jwk{k}})
}

// token answers the client credentials grant.
func (c *Cloud) token(w http.ResponseWriter, r *http.Request, tenantName string, d door) {
	if mime, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); mime != "application/x-www-form-urlencoded" {
		c.violate(w, r, "content type "+mime+" for a form")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil {
		c.violate(w, r, "the form cannot be read")
		return
	}
	known := []string{
		"grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "client_info", "scope", "claims",
	}
	for name, values := range r.PostForm {
		if !slices.Contains(known, name) || len(values) != 1 {
			c.violate(w, r, fmt.Sprintf("unknown or repeated form field %q", name))
			return
		}
	}
	client := r.PostForm.Get("client_id")
	if c.fails(w, r, target{where: d.tokens, client: client}) {
		d.count(client, false)
		return
	}
	reply, no := c.grant(tenantName, r.PostForm.Get, d.proves)
	d.count(client, no == nil)
	if no != nil {
		no.correlation = r.Header.Get("Client-Request-Id")
		c.refuse(w, no)
		return
	}
	write(w, http.StatusOK, reply)
}

type form func(string) string

func (c *Cloud) grant(tenantName string, field form, proves func(*Application, form) *refusal) (map[string]any, *refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	tenant, ok := c.state.Tenant(tenantName)
	if !ok {
		return nil, unknownTenant(tenantName)
	}
	if field("grant_type") != "client_credentials" {
		return nil, deny(70003, "unsupported_grant_type", "The app requested an unsupported grant type '%s'.", field("grant_type"))
	}
	app, ok := tenant.Application(field("client_id"))
	if !ok {
		return nil, unknownApplication(field("client_id"), tenant.ID)
	}
	if no := proves(app, field); no != nil {
		return nil, no
	}
	resource, no := c.scope(field("scope"), tenant.ID)
	if no != nil {
		return nil, no
	}
	token, lives, err := c.issue(tenant, app, resource)
	if err != nil {
		return nil, deny(90033, "temporarily_unavailable", "%v", err)
	}
	return map[string]any{"token_type": "Bearer", "expires_in": lives, "ext_expires_in": lives, "access_token": token}, nil
}

// credential judges how the client proves who it is.
func (c *Cloud) credential(app *Application, field form) *refusal {
	switch {
	case field("client_secret") != "":
		if !slices.Contains(app.Secrets, field("client_secret")) {
			return wrongSecret(app.ClientID)
		}
		return nil
	case field("client_assertion") != "":
		if field("client_assertion_type") != assertionType {
			return deny(50027, "invalid_request", "The client assertion has an unknown type.")
		}
		return c.assertion(app, field("client_assertion"))
	default:
		no := deny(7000218, "invalid_client", "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.")
		return no.as(http.StatusUnauthorized)
	}
}

// assertion judges a token of another issuer.
func (c *Cloud) assertion(app *Application, token string) *refusal {
	told, err := read(token)
	if err != nil {
		return deny(50027, "invalid_request", "JWT token is invalid or malformed.")
	}
	matches := slices.ContainsFunc(app.Federated, func(f Federation) bool {
		audience := f.Audience
		if audience == "" {
			audience = exchange
		}
		return f.Issuer == told.Issuer && f.Subject == told.Subject && slices.Contains(told.Audience, audience)
	})
	if !matches {
		return unfederated(told)
	}
	return c.genuine(told, token)
}

// genuine says whether a token is valid, and its issuer's.
func (c *Cloud) genuine(told claims, token string) *refusal {
	if now := c.config.Now().Unix(); now >= told.Expires || now < told.NotBefore {
		no := deny(700024, "invalid_client", "Client assertion is not within its valid time range. Expiry time of assertion %s.",
			time.Unix(told.Expires, 0).UTC().Format(time.RFC3339))
		return no.as(http.StatusUnauthorized)
	}
	if err := verify(token, c.issuerKeys(told.Issuer)); err != nil {
		return deny(50013, "invalid_grant", "Assertion failed signature validation. [Reason - The key was not found.]")
	}
	return nil
}

func (c *Cloud) issuerKeys(url string) []named {
	for _, issuer := range c.state.Issuers {
		if issuer.URL == url {
			keys, _ := parseJWKS(issuer.JWKS) // SetState has looked
			return keys
		}
	}
	return nil
}

// scope finds the resource that a token is for among the scopes of the request.
func (c *Cloud) scope(text, tenantID string) (string, *refusal) {
	var resource string
	for scope := range strings.FieldsSeq(text) {
		switch trimmed, ok := strings.CutSuffix(scope, "/.default"); {
		case slices.Contains([]string{"openid", "profile", "offline_access"}, scope):
		case !ok, resource != "":
			return "", deny(70011, "invalid_scope", "The provided request must include a 'scope' input parameter. "+
				"The provided value for the input parameter 'scope' isn't valid. The scope %s isn't valid.", text)
		default:
			resource = trimmed
		}
	}
	if resource == "" {
		return "", deny(90014, "invalid_request", "The required field 'scope' is missing from the credential.")
	}
	if resource != c.Resource() {
		return "", unknownResource(resource, tenantID)
	}
	return resource, nil
}

// issue signs an access token. It needs the lock.
func (c *Cloud) issue(tenant *Tenant, app *Application, resource string) (string, int, error) {
	now, lives := c.config.Now().Unix(), c.state.TokenSeconds
	if lives == 0 {
		lives = 3599
	}
	issuer := c.Authority() + tenant.ID + "/"
	token, err := Sign(c.signer, signerID, map[string]any{
		"aud": resource, "iss": issuer, "iat": now, "nbf": now, "exp": now + int64(lives), "appid": app.ClientID,
		"appidacr": "1", "idp": issuer, "oid": app.ObjectID, "sub": app.ObjectID, "tid": tenant.ID, "uti": hexID(), "ver": "1.0",
	})
	return token, lives, err
}

func (c *Cloud) ownKeys() []named {
	return []named{{kid: signerID, key: c.signer.Public()}}
}
