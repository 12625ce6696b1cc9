package cloud

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// MetadataHandler answers as the metadata endpoint of a virtual machine does.
func (c *Cloud) MetadataHandler() http.Handler {
	return c.logged(func(w http.ResponseWriter, r *http.Request) {
		s := shape{method: http.MethodGet, query: []string{"api-version", "resource", "client_id"}, headers: append(librarys(), "Metadata")}
		reason := s.wrong(r)
		query := r.URL.Query()
		switch {
		case r.URL.Path != "/metadata/identity/oauth2/token":
			reason = "unknown path of the metadata endpoint"
		case reason != "":
		case query.Get("api-version") != "2018-02-01":
			reason = "api-version " + strconv.Quote(query.Get("api-version")) + ` instead of "2018-02-01"`
		case query.Has("client_id") && query.Get("client_id") == "":
			reason = "an empty client_id"
		}
		if reason != "" {
			c.violate(w, r, reason)
			return
		}
		c.machineToken(w, r)
	})
}

func (c *Cloud) machineToken(w http.ResponseWriter, r *http.Request) {
	client := r.URL.Query().Get("client_id")
	if c.fails(w, r, target{where: "metadata", client: client}) {
		c.countMetadata(client, false)
		return
	}
	reply, no := c.machineGrant(client, r.Header.Get("Metadata"), r.URL.Query().Get("resource"))
	c.countMetadata(client, no == nil)
	if no != nil {
		c.refuse(w, no)
		return
	}
	write(w, http.StatusOK, reply)
}

func (c *Cloud) countMetadata(client string, given bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if client == "" {
		client = c.state.Machine.System
	}
	oneMore(c.tally.MetadataTokens, c.tally.MetadataRefused, client, given)
}

func (c *Cloud) machineGrant(client, header, resource string) (map[string]any, *refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case header != "true":
		return nil, deny(0, "invalid_request", "Required metadata header not specified")
	case resource == "":
		return nil, deny(0, "invalid_request", "Required query variable 'resource' is missing")
	case resource != c.Resource():
		no := unknownResource(resource, c.state.Machine.Tenant)
		return nil, deny(0, "invalid_resource", "AADSTS500011: %s", no.text)
	}
	tenant, app, no := c.state.identity(client)
	if no != nil {
		return nil, no
	}
	token, lives, err := c.issue(tenant, app, resource)
	if err != nil {
		return nil, deny(0, "unknown_error", "%v", err).as(http.StatusInternalServerError)
	}
	now := c.config.Now().Unix()
	return map[string]any{
		"access_token": token, "refresh_token": "", "client_id": app.ClientID, "expires_in": strconv.Itoa(lives), "ext_expires_in": strconv.Itoa(lives),
		"expires_on": strconv.FormatInt(now+int64(lives), 10), "not_before": strconv.FormatInt(now, 10), "resource": resource, "token_type": "Bearer",
	}, nil
}

// identity is the one of the machine that is meant by client, which may be empty.
func (s *State) identity(client string) (*Tenant, *Application, *refusal) {
	unknown := deny(0, "invalid_request", "Identity not found")
	machine := s.Machine
	if client == "" {
		switch {
		case machine.System != "":
			client = machine.System
		case len(machine.Assigned) == 1:
			client = machine.Assigned[0]
		case len(machine.Assigned) > 1:
			return nil, nil, deny(0, "invalid_request",
				"Multiple user assigned identities exist, please specify the clientId / resourceId of the identity in the token request")
		}
	}
	known := append([]string{machine.System}, machine.Assigned...)
	if client == "" || !slices.ContainsFunc(known, func(id string) bool { return strings.EqualFold(id, client) }) {
		return nil, nil, unknown
	}
	tenant, ok := s.Tenant(machine.Tenant)
	if !ok {
		return nil, nil, unknown
	}
	app, ok := tenant.Application(client)
	if !ok {
		return nil, nil, unknown
	}
	return tenant, app, nil
}
