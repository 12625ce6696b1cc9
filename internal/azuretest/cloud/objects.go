package cloud

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func (q question) slash() string {
	if q.ver == "" {
		return ""
	}
	return "/" + q.ver
}

// find is the object with its versions, as they are now.
func (c *Cloud) find(q question) (name string, versions []Version, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	vault, ok := c.state.Vault(q.vault.Name)
	if !ok {
		return "", nil, false
	}
	object, ok := vault.object(q.kind, q.name)
	if !ok || object.Deleted || len(object.Versions) == 0 {
		return "", nil, false
	}
	return q.name, slices.Clone(object.Versions), true
}

func (c *Cloud) get(w http.ResponseWriter, q question) {
	name, versions, ok := c.find(q)
	if !ok {
		write(w, http.StatusNotFound, q.missing())
		return
	}
	at := len(versions) - 1
	if q.ver != "" {
		at = slices.IndexFunc(versions, func(v Version) bool { return strings.EqualFold(v.ID, q.ver) })
	}
	if at < 0 {
		write(w, http.StatusNotFound, q.missing())
		return
	}
	if versions[at].Disabled {
		one := q.kind.singular()
		write(w, http.StatusForbidden, keyVaultError("Forbidden", strings.ToUpper(one[:1])+one[1:]+"Disabled",
			"Operation get is not allowed on a disabled "+one+"."))
		return
	}
	write(w, http.StatusOK, c.bundle(q.vault.Name, q.kind, name, versions[at]))
}

func (q question) missing() map[string]any {
	one := q.kind.singular()
	return keyVaultError(strings.ToUpper(one[:1])+one[1:]+"NotFound", "", fmt.Sprintf("A %s with (name/id) %s was not found in this key vault. "+
		"If you recently deleted this %s you may be able to recover it using the correct recovery command. For help resolving this issue, "+
		"please see https://go.microsoft.com/fwlink/?linkid=2125182", one, q.name+q.slash(), one))
}

func (c *Cloud) url(vault string, kind Kind, rest string) string {
	return c.VaultURL(vault) + string(kind) + "/" + rest
}

func attributes(v Version) map[string]any {
	body := map[string]any{"enabled": !v.Disabled, "created": v.Created, "updated": v.Updated, "recoveryLevel": "Recoverable+Purgeable"}
	if v.NotBefore != 0 {
		body["nbf"] = v.NotBefore
	}
	if v.Expires != 0 {
		body["exp"] = v.Expires
	}
	return body
}

// bundle is the reply to get.
func (c *Cloud) bundle(vault string, kind Kind, name string, v Version) map[string]any {
	id := name + "/" + v.ID
	body := map[string]any{"attributes": attributes(v)}
	maps.Copy(body, v.Content)
	switch kind {
	case Secrets:
		body["id"] = c.url(vault, Secrets, id)
		if v.Managed {
			body["kid"] = c.url(vault, Keys, id)
		}
	case Keys:
		if key, ok := body["key"].(map[string]any); ok {
			key = maps.Clone(key)
			if _, ok := key["kid"]; !ok {
				key["kid"] = c.url(vault, Keys, id)
			}
			body["key"] = key
		}
	case Certificates:
		body["id"] = c.url(vault, Certificates, id)
		body["kid"] = c.url(vault, Keys, id)
		body["sid"] = c.url(vault, Secrets, id)
	}
	if v.Managed {
		body["managed"] = true
	}
	for _, member := range []string{"id", "kid", "sid", "attributes"} {
		if value, ok := v.Content[member]; ok {
			body[member] = value
		}
	}
	maps.DeleteFunc(body, func(_ string, value any) bool { return value == nil })
	return body
}

// item is what a list says of a version.
func (c *Cloud) item(q question, v Version) map[string]any {
	whole := c.bundle(q.vault.Name, q.kind, q.name, v)
	members := []string{"attributes", "managed", "tags"}
	switch q.kind {
	case Secrets:
		members = append(members, "id", "contentType")
	case Keys:
		whole["kid"] = c.url(q.vault.Name, Keys, q.name+"/"+v.ID)
		if id, ok := v.Content["kid"]; ok {
			whole["kid"] = id
		}
		members = append(members, "kid")
	case Certificates:
		members = append(members, "id", "x5t", "subject")
	}
	maps.DeleteFunc(whole, func(member string, value any) bool { return value == nil || !slices.Contains(members, member) })
	return whole
}

// list answers a page of versions. They come in the order of their ids, which says
// nothing about their age.
func (c *Cloud) list(w http.ResponseWriter, r *http.Request, q question) {
	name, versions, ok := c.find(q)
	if !ok {
		// A list of an object that is not there is empty.
		write(w, http.StatusOK, map[string]any{"value": []any{}, "nextLink": nil})
		return
	}
	q.name = name
	page, from, problem := q.page(r.URL.Query())
	if problem != "" {
		write(w, http.StatusBadRequest, keyVaultError("BadParameter", "", problem))
		return
	}
	slices.SortFunc(versions, func(a, b Version) int { return strings.Compare(a.ID, b.ID) })
	items := []any{}
	for len(items) < page && from < len(versions) {
		items = append(items, c.item(q, versions[from]))
		from++
	}
	body := map[string]any{"value": items, "nextLink": nil}
	if from < len(versions) {
		body["nextLink"] = c.nextLink(q, from, page)
	}
	write(w, http.StatusOK, body)
}

// page says how many items are wanted and which is the first.
func (q question) page(query url.Values) (size, from int, problem string) {
	size = 25
	if text := query.Get("maxresults"); text != "" {
		number, err := strconv.Atoi(text)
		if err != nil || number < 1 || number > 25 {
			return 0, 0, "Invalid maxresults parameter value. The value must be between 1 and 25."
		}
		size = number
	}
	if q.vault.PageSize > 0 {
		size = min(size, q.vault.PageSize)
	}
	if text := query.Get("$skiptoken"); text != "" {
		plain, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			return 0, 0, "Invalid continuation token."
		}
		if from, err = strconv.Atoi(string(plain)); err != nil || from < 0 {
			return 0, 0, "Invalid continuation token."
		}
	}
	return size, from, ""
}

// nextLink names the port even if it is 443, as Azure does.
func (c *Cloud) nextLink(q question, from, page int) string {
	host := net.JoinHostPort(q.vault.Name+"."+c.config.Suffix, strconv.Itoa(c.config.Port))
	return fmt.Sprintf("https://%s/%s/%s/versions?api-version=%s&$skiptoken=%s&maxresults=%d", host, q.kind, q.name, c.config.APIVersion,
		base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(from))), page)
}
