package cloud

import (
	"fmt"
	"net/http"
	"strings"
)

// refusal is an error of the authority.
type refusal struct {
	code        int
	status      int
	kind, text  string
	correlation string
}

func deny(code int, kind, format string, args ...any) *refusal {
	return &refusal{code: code, status: http.StatusBadRequest, kind: kind, text: fmt.Sprintf(format, args...)}
}

func (r *refusal) as(status int) *refusal {
	r.status = status
	return r
}

func unknownTenant(name string) *refusal {
	return deny(90002, "invalid_tenant", "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into "+
		"the correct cloud. Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", name)
}

func unknownApplication(client, tenantID string) *refusal {
	return deny(700016, "unauthorized_client", "Application with identifier '%s' was not found in the directory '%s'. This can happen if "+
		"the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. "+
		"You may have sent your authentication request to the wrong tenant.", client, tenantID)
}

func unknownResource(resource, tenantID string) *refusal {
	return deny(500011, "invalid_resource", "The resource principal named %s was not found in the tenant named %s. This can happen if the "+
		"application has not been installed by the administrator of the tenant or consented to by any user in the tenant. "+
		"You might have sent your authentication request to the wrong tenant.", resource, tenantID)
}

func wrongSecret(client string) *refusal {
	return deny(7000215, "invalid_client", "Invalid client secret provided. Ensure the secret being sent in the request is the client "+
		"secret value, not the client secret ID, for a secret added to app '%s'.", client).as(http.StatusUnauthorized)
}

func unfederated(told claims) *refusal {
	return deny(70021, "invalid_request", "No matching federated identity record found for presented assertion. Assertion Issuer: '%s'. "+
		"Assertion Subject: '%s'. Assertion Audience: '%s'. "+
		"https://docs.microsoft.com/en-us/azure/active-directory/develop/workload-identity-federation",
		told.Issuer, told.Subject, strings.Join(told.Audience, ","))
}

func (c *Cloud) refuse(w http.ResponseWriter, no *refusal) {
	if no.code == 0 { // it is not the authority that refuses
		write(w, no.status, map[string]any{"error": no.kind, "error_description": no.text})
		return
	}
	write(w, no.status, c.refusalBody(no))
}

func (c *Cloud) refusalBody(no *refusal) map[string]any {
	trace, at := guid(hexID()), c.config.Now().UTC().Format("2006-01-02 15:04:05Z")
	if no.correlation == "" {
		no.correlation = guid(hexID())
	}
	return map[string]any{
		"error": no.kind,
		"error_description": fmt.Sprintf("AADSTS%d: %s\r\nTrace ID: %s\r\nCorrelation ID: %s\r\nTimestamp: %s",
			no.code, no.text, trace, no.correlation, at),
		"error_codes":    []int{no.code},
		"timestamp":      at,
		"trace_id":       trace,
		"correlation_id": no.correlation,
		"error_uri":      fmt.Sprintf("%serror?code=%d", c.Authority(), no.code),
	}
}
