package cloud

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/strongroom/strongroom/internal/azuretest/material"
)

// ControlHandler is how a test that runs in another process talks to the cloud: JSON
// over HTTP, for loopback only, since everybody who reaches it may do everything.
//
//	GET    /ca.pem                                   what clients must trust
//	GET    /cluster.pem                              and what to trust in the cluster
//	GET    /stack.json                               the definition of this cloud, as AzureStackCloud wants it
//	GET    /state        PUT /state                  everything (State)
//	PUT    /issuers                                  the OpenID providers ([]Issuer)
//	PUT    /tenants/{tenant}/applications            one Application, which it replaces
//	PATCH  /vaults/{vault}                           members of Vault but name and objects
//	POST   /vaults/{vault}/{kind}/{name}             a Version to add; answers its id
//	POST   /vaults/{vault}/{kind}/{name}/make        a Recipe: makes a key or a certificate; answers its id
//	PATCH  /vaults/{vault}/{kind}/{name}             {"enabled": bool, "version": id or nothing for all}
//	DELETE /vaults/{vault}/{kind}/{name}
//	POST   /faults       DELETE /faults              one Fault; none
//	GET    /counters     DELETE /counters            Counters
//	GET    /violations   DELETE /violations          []Violation
func (c *Cloud) ControlHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ca.pem", func(w http.ResponseWriter, _ *http.Request) { writeRaw(w, http.StatusOK, string(c.CA())) })
	mux.HandleFunc("GET /cluster.pem", func(w http.ResponseWriter, _ *http.Request) { writeRaw(w, http.StatusOK, string(c.ClusterCA())) })
	mux.HandleFunc("GET /stack.json", func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, c.Stack()) })
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, c.State()) })
	mux.HandleFunc("PUT /state", order(func(_ *http.Request, state State) (any, error) { return nil, c.SetState(state) }))
	mux.HandleFunc("PUT /issuers", order(func(_ *http.Request, issuers []Issuer) (any, error) { return nil, c.SetIssuers(issuers) }))
	mux.HandleFunc("PUT /tenants/{tenant}/applications", order(func(r *http.Request, app Application) (any, error) {
		return nil, c.SetApplication(r.PathValue("tenant"), app)
	}))
	mux.HandleFunc("PATCH /vaults/{vault}", order(c.patchVault))
	mux.HandleFunc("POST /vaults/{vault}/{kind}/{name}", order(func(r *http.Request, v Version) (any, error) { return id(c.Put(place(r), v)) }))
	mux.HandleFunc("POST /vaults/{vault}/{kind}/{name}/make", order(func(r *http.Request, recipe Recipe) (any, error) {
		return id(c.Make(r.Context(), place(r), recipe))
	}))
	mux.HandleFunc("PATCH /vaults/{vault}/{kind}/{name}", order(func(r *http.Request, wish enabling) (any, error) {
		return nil, c.SetEnabled(place(r), wish.Version, wish.Enabled)
	}))
	mux.HandleFunc("DELETE /vaults/{vault}/{kind}/{name}", func(w http.ResponseWriter, r *http.Request) { reply(w, nil, c.Delete(place(r))) })
	mux.HandleFunc("POST /faults", order(func(_ *http.Request, f Fault) (any, error) { c.AddFault(f); return nil, nil }))
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) { c.ClearFaults(); reply(w, nil, nil) })
	mux.HandleFunc("GET /counters", func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, c.Counters()) })
	mux.HandleFunc("DELETE /counters", func(w http.ResponseWriter, _ *http.Request) { c.ClearCounters(); reply(w, nil, nil) })
	mux.HandleFunc("GET /violations", func(w http.ResponseWriter, _ *http.Request) { write(w, http.StatusOK, c.Violations()) })
	mux.HandleFunc("DELETE /violations", func(w http.ResponseWriter, _ *http.Request) { c.ClearViolations(); reply(w, nil, nil) })
	return mux
}

type enabling struct {
	Enabled bool   `json:"enabled"`
	Version string `json:"version"`
}

func place(r *http.Request) Place {
	return Place{Vault: r.PathValue("vault"), Kind: Kind(r.PathValue("kind")), Name: r.PathValue("name")}
}

func id(id string, err error) (any, error) { return map[string]string{"id": id}, err }

// order reads a T and carries it out.
func order[T any](do func(*http.Request, T) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body T
		decoder := json.NewDecoder(r.Body)
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&body); err != nil {
			reply(w, nil, fmt.Errorf("read the order: %w", err))
			return
		}
		answer, err := do(r, body)
		reply(w, answer, err)
	}
}

func reply(w http.ResponseWriter, body any, err error) {
	switch {
	case err != nil:
		write(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
	case body == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		write(w, http.StatusOK, body)
	}
}

func (c *Cloud) patchVault(r *http.Request, patch map[string]json.RawMessage) (any, error) {
	return nil, c.Change(func(s *State) error {
		vault, ok := s.Vault(r.PathValue("vault"))
		if !ok {
			return fmt.Errorf("change vault %s: there is no such vault", r.PathValue("vault"))
		}
		for _, fixed := range []string{"name", "objects"} {
			if _, ok := patch[fixed]; ok {
				return fmt.Errorf("change vault %s: %q cannot be changed", vault.Name, fixed)
			}
		}
		text, err := json.Marshal(patch)
		if err != nil {
			return err
		}
		return json.Unmarshal(text, vault)
	})
}

// SetIssuers replaces the OpenID providers.
func (c *Cloud) SetIssuers(issuers []Issuer) error {
	for _, issuer := range issuers {
		if _, err := parseJWKS(issuer.JWKS); err != nil {
			return fmt.Errorf("read the keys of issuer %s: %w", issuer.URL, err)
		}
	}
	return c.Change(func(s *State) error { s.Issuers = issuers; return nil })
}

// SetApplication adds an application to a tenant or replaces it.
func (c *Cloud) SetApplication(tenant string, app Application) error {
	if app.ClientID == "" {
		return errors.New("an application needs a client id")
	}
	if app.ObjectID == "" {
		app.ObjectID = guid(app.ClientID)
	}
	return c.Change(func(s *State) error {
		t, ok := s.Tenant(tenant)
		if !ok {
			return fmt.Errorf("set application %s: there is no tenant %s", app.ClientID, tenant)
		}
		if known, ok := t.Application(app.ClientID); ok {
			*known = app
			return nil
		}
		t.Applications = append(t.Applications, app)
		return nil
	})
}

// Recipe is a certificate or a key to be made.
type Recipe struct {
	material.Template
	// HSM is for keys: kty ends in -HSM.
	HSM bool `json:"hsm,omitempty"`
	// Type is PEM or PFX; the latter if it is empty.
	Type       string              `json:"type,omitempty"`
	Encryption material.Encryption `json:"encryption,omitempty"`
	// OpenSSL writes the PKCS#12 file instead of Go.
	OpenSSL bool `json:"openssl,omitempty"`
	// Order are the places of the chain in the secret: 0 is the leaf.
	Order []int `json:"order,omitempty"`
	// Unexportable leaves the private key out of the secret.
	Unexportable bool   `json:"unexportable,omitempty"`
	Password     string `json:"password,omitempty"`
}
