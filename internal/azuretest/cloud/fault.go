package cloud

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Fault is something that goes wrong, for the requests that it fits: all fields of the
// first group that are set must match. It is due after Skip requests, for Times of them
// (for ever if Times is zero).
type Fault struct {
	// Where is vault, authority (its tokens), discovery (its OpenID configuration),
	// proxy and proxy-discovery (the same through the cluster's token proxy), metadata
	// or nmi (whose Client is a pod, as NAMESPACE/NAME).
	Where  string `json:"where"`
	Vault  string `json:"vault,omitempty"`
	Kind   Kind   `json:"kind,omitempty"`
	Name   string `json:"name,omitempty"`
	Client string `json:"client,omitempty"`

	Skip  int `json:"skip,omitempty"`
	Times int `json:"times,omitempty"`

	// Millis is how much later the answer comes; alone it is not an error.
	Millis int `json:"millis,omitempty"`
	// Hang is a black hole: there is no answer until the client goes away.
	Hang bool `json:"hang,omitempty"`
	// Reset closes the connection instead of an answer.
	Reset bool `json:"reset,omitempty"`
	// Status, Code, Inner and Message make an error as the server words it; RetryAfter
	// is a header. Body replaces the text of the reply, which may then be 200.
	Status     int    `json:"status,omitempty"`
	Code       string `json:"code,omitempty"`
	Inner      string `json:"inner,omitempty"`
	Message    string `json:"message,omitempty"`
	RetryAfter string `json:"retryAfter,omitempty"`
	Body       string `json:"body,omitempty"`
	// Location is a header, too. Cut ends the connection before the end of Body, and Drip
	// sends it a byte a second.
	Location string `json:"location,omitempty"`
	Cut      bool   `json:"cut,omitempty"`
	Drip     bool   `json:"drip,omitempty"`

	seen int
}

// target is what a request is about.
type target struct {
	where, vault, name, client string
	kind                       Kind
}

func (f *Fault) fits(t target) bool {
	return f.Where == t.where &&
		(f.Vault == "" || strings.EqualFold(f.Vault, t.vault)) && (f.Kind == "" || f.Kind == t.kind) &&
		(f.Name == "" || strings.EqualFold(f.Name, t.name)) && (f.Client == "" || strings.EqualFold(f.Client, t.client))
}

// AddFault makes something go wrong from now on. Of several that fit the first is due,
// after the delays of those before it.
func (c *Cloud) AddFault(f Fault) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.seen = 0
	c.faults = append(c.faults, &f)
}

// ClearFaults ends all of them.
func (c *Cloud) ClearFaults() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = nil
}

// answers says whether the fault does more than wait.
func (f *Fault) answers() bool { return f.Hang || f.Reset || f.Status != 0 || f.Body != "" }

func (c *Cloud) due(t target) Fault {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found Fault
	for _, f := range c.faults {
		if !f.fits(t) {
			continue
		}
		f.seen++
		if f.seen <= f.Skip {
			continue
		}
		millis := found.Millis + f.Millis
		found = *f
		found.Millis = millis
		if found.answers() {
			break
		}
	}
	c.faults = slices.DeleteFunc(c.faults, func(f *Fault) bool { return f.Times > 0 && f.seen >= f.Skip+f.Times })
	return found
}

// fails says whether a fault has answered in the server's place.
func (c *Cloud) fails(w http.ResponseWriter, r *http.Request, t target) bool {
	f := c.due(t)
	if f.Millis > 0 {
		select {
		case <-time.After(time.Duration(f.Millis) * time.Millisecond):
		case <-r.Context().Done():
		}
	}
	switch {
	case f.Hang:
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	case f.Reset:
		panic(http.ErrAbortHandler)
	case !f.answers():
		return false
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	if f.Location != "" {
		w.Header().Set("Location", f.Location)
	}
	if f.Status == http.StatusUnauthorized && t.where == "vault" {
		c.challengeHeader(w, t.vault)
	}
	c.error(w, t, &f)
	return true
}

func (c *Cloud) error(w http.ResponseWriter, t target, f *Fault) {
	status := f.Status
	if status == 0 {
		status = http.StatusOK
	}
	switch {
	case f.Drip:
		drip(w, f.Body)
	case f.Body != "":
		if f.Cut {
			w.Header().Set("Content-Length", strconv.Itoa(len(f.Body)+1))
		}
		writeRaw(w, status, f.Body)
	case t.where == "vault":
		write(w, status, keyVaultError(f.Code, f.Inner, f.Message))
	default:
		write(w, status, map[string]any{"error": f.Code, "error_description": f.Message})
	}
}

func writeRaw(w http.ResponseWriter, status int, body string) {
	mime := "text/plain; charset=utf-8"
	if json.Valid([]byte(body)) {
		mime = "application/json; charset=utf-8"
	}
	w.Header().Set("Content-Type", mime)
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the client has gone
}

// drip goes on until the client has gone.
func drip(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	out := http.NewResponseController(w)
	for i := range len(body) {
		if _, err := io.WriteString(w, body[i:i+1]); err != nil || out.Flush() != nil {
			return
		}
		time.Sleep(time.Second)
	}
}

// window is a stretch of time in which requests are counted.
type window struct {
	ends time.Time
	used int
}

// throttles says whether the vault has had enough, and has then answered.
func (c *Cloud) throttles(w http.ResponseWriter, vault *Vault) bool {
	quota := vault.Quota
	if quota == nil {
		return false
	}
	c.mu.Lock()
	now, name := c.config.Now(), strings.ToLower(vault.Name)
	current := c.windows[name]
	if current == nil || !now.Before(current.ends) {
		current = &window{ends: now.Add(time.Duration(quota.Seconds) * time.Second)}
		c.windows[name] = current
	}
	current.used++
	over, left := current.used > quota.Requests, current.ends.Sub(now)
	if over {
		c.tally.Throttled[name]++
	}
	c.mu.Unlock()
	if !over {
		return false
	}
	after := quota.RetryAfter
	if after == 0 {
		after = int(math.Ceil(left.Seconds()))
	}
	if after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(after))
	}
	write(w, http.StatusTooManyRequests, keyVaultError("Throttled", "",
		"Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"))
	return true
}
