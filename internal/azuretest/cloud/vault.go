package cloud

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// question is a request for a vault that has been understood.
type question struct {
	vault  *Vault
	kind   Kind
	name   string
	op     string
	ver    string
	caller claims
}

// vault answers as the data plane of a key vault does.
func (c *Cloud) vault(w http.ResponseWriter, r *http.Request, name string) {
	c.mu.Lock()
	vault, ok := c.state.Vault(name)
	c.mu.Unlock()
	if !ok {
		c.violate(w, r, "there is no vault of this name; in Azure it would not even resolve")
		return
	}
	q, reason := parse(r.URL.EscapedPath())
	if reason == "" {
		reason = c.wrong(r, q)
	}
	if reason != "" {
		c.violate(w, r, reason)
		return
	}
	q.vault = vault
	c.ask(w, r, q)
}

// parse takes the path apart: /KIND/NAME, /KIND/NAME/, /KIND/NAME/VERSION or
// /KIND/NAME/versions.
func parse(path string) (question, string) {
	parts := strings.Split(path, "/")
	if len(parts) < 3 || len(parts) > 4 || parts[0] != "" || parts[2] == "" {
		return question{}, "unknown path of a vault"
	}
	q := question{kind: Kind(parts[1]), name: parts[2], op: "get"}
	if !slices.Contains(kinds(), q.kind) {
		return question{}, "unknown collection of a vault"
	}
	if len(parts) == 4 {
		q.ver = parts[3]
	}
	if q.ver == "versions" {
		q.op, q.ver = "list", ""
	}
	return q, ""
}

// wrong is the reason why no client may ask q like this, or nothing.
func (c *Cloud) wrong(r *http.Request, q question) string {
	s := shape{method: http.MethodGet, query: []string{"api-version"}, headers: []string{"Authorization"}}
	if q.op == "list" {
		s.query = append(s.query, "maxresults", "$skiptoken")
	}
	if reason := s.wrong(r); reason != "" {
		return reason
	}
	switch version := r.URL.Query().Get("api-version"); {
	case version != c.config.APIVersion:
		return fmt.Sprintf("api-version %q instead of %q", version, c.config.APIVersion)
	case r.Header.Get("Accept") == "" && r.URL.Query().Has("$skiptoken"):
		// The SDK does not send it with a nextLink.
	case !strings.Contains(r.Header.Get("Accept"), "application/json"):
		return "the header Accept does not name application/json"
	}
	if text, ok := r.Header["Authorization"]; ok && !bearer(text[0]) {
		return "the header Authorization is not a bearer token of three parts"
	}
	return ""
}

const (
	digits  = "0123456789"
	letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// only says whether text has nothing but these characters.
func only(text, characters string) bool {
	return strings.Trim(text, characters) == "" && text != ""
}

func bearer(header string) bool {
	token, ok := strings.CutPrefix(header, "Bearer ")
	parts := strings.Split(token, ".")
	return ok && len(parts) == 3 && !slices.ContainsFunc(parts, func(part string) bool { return !only(part, digits+letters+"-_") })
}

// malformed says whether no object could have this name or version.
func (q question) malformed() bool {
	name := only(q.name, digits+letters+"-") && len(q.name) <= 127
	version := q.ver == "" || only(q.ver, digits+"abcdefABCDEF") && len(q.ver) == 32
	return !name || !version
}

// ask goes through the gates of a vault in Azure's order: quota, token, firewall,
// rights, object.
func (c *Cloud) ask(w http.ResponseWriter, r *http.Request, q question) {
	token, has := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if has {
		q.caller, _ = read(token) // verified below
	}
	kept := &answer{ResponseWriter: w}
	w = kept
	w.Header().Set("X-Ms-Request-Id", guid(hexID()))
	c.arrives(q)
	defer func() { c.leaves(q, has, kept.status) }()
	if c.fails(w, r, target{where: "vault", vault: q.vault.Name, kind: q.kind, name: q.name, client: q.caller.Client}) || c.throttles(w, q.vault) {
		return
	}
	if problem := c.distrust(token, has, q); problem != "" {
		c.challengeHeader(w, q.vault.Name)
		write(w, http.StatusUnauthorized, keyVaultError("Unauthorized", "", problem))
		return
	}
	if no := q.forbidden(r.RemoteAddr); no != nil {
		write(w, http.StatusForbidden, no)
		return
	}
	if q.malformed() {
		write(w, http.StatusBadRequest, keyVaultError("BadParameter", "", "The request URI contains an invalid name: "+q.name+q.slash()))
		return
	}
	if q.op == "list" {
		c.list(w, r, q)
		return
	}
	c.get(w, q)
}

func (c *Cloud) arrives(q question) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := strings.ToLower(q.vault.Name)
	c.inside[name]++
	c.tally.Peak[name] = max(c.tally.Peak[name], c.inside[name])
}

func (c *Cloud) leaves(q question, token bool, status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := strings.ToLower(q.vault.Name)
	c.inside[name]--
	if !token {
		c.tally.Challenges[name]++
		return
	}
	c.tally.reads[Read{
		Vault: name, Client: q.caller.Client, Op: q.op, Kind: q.kind, Name: strings.ToLower(q.name), Version: q.ver, Status: status,
	}]++
}

// challengeHeader says where tokens come from and what they must be for.
func (c *Cloud) challengeHeader(w http.ResponseWriter, name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	vault, ok := c.state.Vault(name)
	if !ok {
		return
	}
	text := fmt.Sprintf("Bearer authorization=%q, resource=%q", c.Authority()+vault.Tenant, c.Resource())
	if vault.Challenge != "" {
		text = vault.Challenge
	}
	w.Header().Set("WWW-Authenticate", text)
}

// distrust says why the vault takes nobody for the caller, or nothing.
func (c *Cloud) distrust(token string, has bool, q question) string {
	tenant := c.Authority() + q.vault.Tenant + "/"
	switch {
	case !has:
		return "AKV10000: Request is missing a Bearer or PoP token."
	case verify(token, c.ownKeys()) != nil:
		return "AKV10046: Unable to resolve the key used for signature validation."
	case !slices.Contains(q.caller.Audience, c.Resource()):
		return fmt.Sprintf("AKV10022: Invalid audience. Expected %s, found: %s.", c.Resource(), strings.Join(q.caller.Audience, ","))
	case q.caller.Tenant != q.vault.Tenant:
		return fmt.Sprintf("AKV10032: Invalid issuer. Expected one of %s, found %s.", tenant, q.caller.Issuer)
	case c.config.Now().Unix() >= q.caller.Expires:
		return "[TokenExpired] Error validating token: IDX10223."
	}
	return ""
}

// forbidden is the error for a caller who may not, or nothing.
func (q question) forbidden(address string) map[string]any {
	caller := fmt.Sprintf("appid=%s;oid=%s;iss=%s", q.caller.Client, q.caller.Object, q.caller.Issuer)
	if q.vault.Firewall {
		return keyVaultError("Forbidden", "ForbiddenByFirewall", fmt.Sprintf("Client address is not authorized and caller is not a trusted "+
			"service.\r\nClient address: %s\r\nCaller: %s\r\nVault: %s;location=westeurope", address, caller, q.vault.Name))
	}
	for client, access := range q.vault.Access {
		if strings.EqualFold(client, q.caller.Client) && slices.Contains(access[q.kind], q.op) {
			return nil
		}
	}
	if q.vault.RBAC {
		return keyVaultError("Forbidden", "ForbiddenByRbac", fmt.Sprintf("Caller is not authorized to perform action on resource.\r\n"+
			"If role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\n"+
			"Caller: %s\r\nAction: '%s'\r\nResource: '/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/test/providers/"+
			"microsoft.keyvault/vaults/%s/%s/%s'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\n"+
			"Vault: %s;location=westeurope\r\n", caller, q.action(), strings.ToLower(q.vault.Name), q.kind, q.name, q.vault.Name))
	}
	return keyVaultError("Forbidden", "ForbiddenByPolicy", fmt.Sprintf("The user, group or application '%s' does not have %s %s permission "+
		"on key vault '%s;location=westeurope'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287",
		caller, q.kind, q.op, q.vault.Name))
}

// action is what a role must allow.
func (q question) action() string {
	switch {
	case q.op == "get" && q.kind == Secrets:
		return "Microsoft.KeyVault/vaults/secrets/getSecret/action"
	case q.kind == Secrets:
		return "Microsoft.KeyVault/vaults/secrets/readMetadata/action"
	default:
		return "Microsoft.KeyVault/vaults/" + string(q.kind) + "/read"
	}
}

func keyVaultError(code, inner, message string) map[string]any {
	body := map[string]any{"code": code, "message": message}
	if inner != "" {
		body["innererror"] = map[string]any{"code": inner}
	}
	return map[string]any{"error": body}
}
