package cloud

import (
	"net/http"
	"slices"
	"strconv"
)

// NMIAddress is where the NMI of pod identity answers the node.
const NMIAddress = "localhost:2579"

// Pod is a pod with an identity of the machine's.
type Pod struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	ClientID  string `json:"clientID"`
	// Times are how replies say when a token ends: number, which is what they do if it is
	// empty, string, or date.
	Times string `json:"times,omitempty"`
}

// NMIHandler answers as the NMI of pod identity does.
func (c *Cloud) NMIHandler() http.Handler {
	return c.logged(func(w http.ResponseWriter, r *http.Request) {
		reason := shape{method: http.MethodGet, query: []string{"resource"}, headers: []string{"Podname", "Podns"}}.wrong(r)
		if r.URL.Path != "/host/token/" {
			reason = "unknown path of the NMI"
		}
		if reason != "" {
			c.violate(w, r, reason)
			return
		}
		pod := r.Header.Get("Podns") + "/" + r.Header.Get("Podname")
		if c.fails(w, r, target{where: "nmi", client: pod}) {
			c.countPod(pod, false)
			return
		}
		reply, no := c.podGrant(pod, r.URL.Query().Get("resource"))
		c.countPod(pod, no == nil)
		if no != nil {
			http.Error(w, no.text, no.status)
			return
		}
		write(w, http.StatusOK, reply)
	})
}

func (c *Cloud) countPod(pod string, given bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	oneMore(c.tally.NMITokens, c.tally.NMIRefused, pod, given)
}

func (c *Cloud) podGrant(name, resource string) (map[string]any, *refusal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := slices.IndexFunc(c.state.Pods, func(p Pod) bool { return p.Namespace+"/"+p.Name == name })
	if at < 0 {
		return nil, deny(0, "", "no AzureAssignedIdentity found for pod:%s in assigned state", name).as(http.StatusNotFound)
	}
	pod := c.state.Pods[at]
	tenant, app, no := c.state.identity(pod.ClientID)
	switch {
	case no != nil:
		return nil, no.as(http.StatusForbidden)
	case resource != c.Resource():
		return nil, unknownResource(resource, tenant.ID).as(http.StatusForbidden)
	}
	token, lives, err := c.issue(tenant, app, resource)
	if err != nil {
		return nil, deny(0, "", "%v", err).as(http.StatusInternalServerError)
	}
	ends := c.config.Now().Unix() + int64(lives)
	var when any = ends
	switch pod.Times {
	case "string":
		when = strconv.FormatInt(ends, 10)
	case "date":
		when = "11/22/2026 15:18:31 +00:00"
	}
	return map[string]any{"clientid": app.ClientID, "token": map[string]any{
		"access_token": token, "refresh_token": "", "expires_in": lives, "expires_on": when, "not_before": ends - int64(lives), "resource": resource,
		"token_type": "Bearer",
	}}, nil
}
