package cloud

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// State is everything that the cloud knows. It is what the state file holds.
type State struct {
	// TokenSeconds is how long access tokens live; an hour if it is zero.
	TokenSeconds int      `json:"tokenSeconds,omitempty"`
	Tenants      []Tenant `json:"tenants,omitempty"`
	Issuers      []Issuer `json:"issuers,omitempty"`
	Vaults       []Vault  `json:"vaults,omitempty"`
	Machine      Machine  `json:"machine"`
	Cluster      Cluster  `json:"cluster"`
	// Pods are those that pod identity's NMI knows.
	Pods []Pod `json:"pods,omitempty"`
}

// Tenant is a directory. ID is a GUID, or "adfs" for the federation service of an
// Azure Stack; Domains are other names of it.
type Tenant struct {
	ID           string        `json:"id"`
	Domains      []string      `json:"domains,omitempty"`
	Applications []Application `json:"applications,omitempty"`
}

// Application is an app registration with its service principal, or a user assigned
// managed identity with federated credentials.
type Application struct {
	ClientID  string       `json:"clientID"`
	ObjectID  string       `json:"objectID,omitempty"`
	Secrets   []string     `json:"secrets,omitempty"`
	Federated []Federation `json:"federated,omitempty"`
}

// Federation is a federated credential: whose tokens are as good as a secret.
type Federation struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	// Audience is api://AzureADTokenExchange if it is empty.
	Audience string `json:"audience,omitempty"`
}

// Issuer is an OpenID provider, such as a cluster, with its public keys (a JWKS).
type Issuer struct {
	URL  string          `json:"url"`
	JWKS json.RawMessage `json:"jwks"`
}

// Vault is a key vault with what is in it.
type Vault struct {
	Name   string `json:"name"`
	Tenant string `json:"tenant"`
	// RBAC says whether roles or access policies decide; only error texts differ.
	RBAC bool `json:"rbac,omitempty"`
	// Firewall keeps everybody out.
	Firewall bool `json:"firewall,omitempty"`
	// Access is by client id.
	Access map[string]Access `json:"access,omitempty"`
	Quota  *Quota            `json:"quota,omitempty"`
	// PageSize is how many versions a page has at most; 25 if it is zero.
	PageSize int `json:"pageSize,omitempty"`
	// Challenge replaces the header WWW-Authenticate.
	Challenge string                      `json:"challenge,omitempty"`
	Objects   map[Kind]map[string]*Object `json:"objects,omitempty"`
}

// Access is what one identity may do: "get" and "list", per kind.
type Access map[Kind][]string

// Quota is how many requests a vault answers in a window of time.
type Quota struct {
	Requests int `json:"requests"`
	Seconds  int `json:"seconds"`
	// RetryAfter, in seconds, is what a refused client is told; what is left of the
	// window if it is zero, no header if it is negative.
	RetryAfter int `json:"retryAfter,omitempty"`
}

// Kind is a collection of a vault, spelled as in its URL.
type Kind string

// The three kinds.
const (
	Secrets      Kind = "secrets"
	Keys         Kind = "keys"
	Certificates Kind = "certificates"
)

func kinds() []Kind { return []Kind{Secrets, Keys, Certificates} }

// singular is how error texts speak of one object.
func (k Kind) singular() string { return strings.TrimSuffix(string(k), "s") }

// Object is a secret, key or certificate with its versions, oldest first.
type Object struct {
	Deleted  bool      `json:"deleted,omitempty"`
	Versions []Version `json:"versions"`
}

// Version is one version of an object. Times are Unix seconds.
type Version struct {
	// ID has 32 hexadecimal digits; it is made up if it is empty.
	ID        string `json:"id,omitempty"`
	Disabled  bool   `json:"disabled,omitempty"`
	Created   int64  `json:"created,omitempty"`
	Updated   int64  `json:"updated,omitempty"`
	NotBefore int64  `json:"nbf,omitempty"`
	Expires   int64  `json:"exp,omitempty"`
	// Content are the members of the reply beside id and attributes: value and
	// contentType; key; cer. A member "id" or "attributes" replaces the true one,
	// null removes it.
	Content map[string]any `json:"content"`
	// Managed says that the secret or key belongs to the certificate of that name.
	Managed bool `json:"managed,omitempty"`
}

// Machine is the virtual machine whose metadata endpoint answers.
type Machine struct {
	Tenant string `json:"tenant,omitempty"`
	// System is the client id of the system assigned identity; Assigned are those of
	// user assigned ones. All are applications of the tenant.
	System   string   `json:"system,omitempty"`
	Assigned []string `json:"assigned,omitempty"`
}

// SetState replaces everything that the cloud knows, but for counters and faults.
func (c *Cloud) SetState(state State) error {
	state = clone(state)
	for i := range state.Tenants {
		for j := range state.Tenants[i].Applications {
			app := &state.Tenants[i].Applications[j]
			if app.ObjectID == "" {
				app.ObjectID = guid(app.ClientID)
			}
		}
	}
	for _, issuer := range state.Issuers {
		if _, err := parseJWKS(issuer.JWKS); err != nil {
			return fmt.Errorf("read the keys of issuer %s: %w", issuer.URL, err)
		}
	}
	for i := range state.Vaults {
		if err := c.complete(&state.Vaults[i]); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = state
	return nil
}

func (c *Cloud) complete(vault *Vault) error {
	if vault.Objects == nil {
		vault.Objects = map[Kind]map[string]*Object{}
	}
	for kind, objects := range vault.Objects {
		if !slices.Contains(kinds(), kind) {
			return fmt.Errorf("vault %s: there are no objects of kind %q", vault.Name, kind)
		}
		for _, object := range objects {
			for i := range object.Versions {
				c.stamp(&object.Versions[i])
			}
		}
	}
	return nil
}

func (c *Cloud) stamp(v *Version) {
	if v.ID == "" {
		v.ID = hexID()
	}
	if v.Created == 0 {
		v.Created = c.config.Now().Unix()
	}
	if v.Updated == 0 {
		v.Updated = v.Created
	}
}

// State is a copy of everything that the cloud knows.
func (c *Cloud) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return clone(c.state)
}

// Change lets f change what the cloud knows, as one step.
func (c *Cloud) Change(f func(*State) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := clone(c.state)
	if err := f(&next); err != nil {
		return err
	}
	c.state = next
	return nil
}

// Tenant finds a tenant by its id or by one of its domains.
func (s *State) Tenant(name string) (*Tenant, bool) {
	at := slices.IndexFunc(s.Tenants, func(t Tenant) bool {
		return strings.EqualFold(t.ID, name) || slices.ContainsFunc(t.Domains, func(d string) bool { return strings.EqualFold(d, name) })
	})
	if at < 0 {
		return nil, false
	}
	return &s.Tenants[at], true
}

// Application finds an application by its client id.
func (t *Tenant) Application(clientID string) (*Application, bool) {
	at := slices.IndexFunc(t.Applications, func(a Application) bool { return strings.EqualFold(a.ClientID, clientID) })
	if at < 0 {
		return nil, false
	}
	return &t.Applications[at], true
}

// Vault finds a vault by its name.
func (s *State) Vault(name string) (*Vault, bool) {
	at := slices.IndexFunc(s.Vaults, func(v Vault) bool { return strings.EqualFold(v.Name, name) })
	if at < 0 {
		return nil, false
	}
	return &s.Vaults[at], true
}

func (v *Vault) object(kind Kind, name string) (*Object, bool) {
	for known, object := range v.Objects[kind] {
		if strings.EqualFold(known, name) {
			return object, true
		}
	}
	return nil, false
}

// clone copies what may change later. The Content of a version never does.
func clone(s State) State {
	s.Tenants, s.Issuers, s.Vaults = slices.Clone(s.Tenants), slices.Clone(s.Issuers), slices.Clone(s.Vaults)
	s.Cluster.Bindings, s.Pods = slices.Clone(s.Cluster.Bindings), slices.Clone(s.Pods)
	for i := range s.Tenants {
		s.Tenants[i].Applications = slices.Clone(s.Tenants[i].Applications)
	}
	for i := range s.Vaults {
		vault := &s.Vaults[i]
		vault.Access = maps.Clone(vault.Access)
		for client, access := range vault.Access {
			vault.Access[client] = maps.Clone(access)
		}
		if vault.Quota != nil {
			quota := *vault.Quota
			vault.Quota = &quota
		}
		objects := make(map[Kind]map[string]*Object, len(vault.Objects))
		for kind, named := range vault.Objects {
			objects[kind] = make(map[string]*Object, len(named))
			for name, object := range named {
				objects[kind][name] = &Object{Deleted: object.Deleted, Versions: slices.Clone(object.Versions)}
			}
		}
		vault.Objects = objects
	}
	return s
}
