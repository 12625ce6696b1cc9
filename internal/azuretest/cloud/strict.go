package cloud

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Violation is a request that Azure's documentation does not know, or one that no
// client of this cloud may make.
type Violation struct {
	Request string `json:"request"`
	Reason  string `json:"reason"`
}

func (v Violation) String() string { return v.Request + ": " + v.Reason }

// Violations are those since the start or since ClearViolations. A test fails if there
// are any.
func (c *Cloud) Violations() []Violation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]Violation{}, c.violations...)
}

// ClearViolations forgets them, for a test that made some on purpose.
func (c *Cloud) ClearViolations() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violations = nil
}

func (c *Cloud) violate(w http.ResponseWriter, r *http.Request, reason string) {
	c.note(r.Method+" "+r.Host+r.URL.RequestURI(), reason)
	write(w, http.StatusInternalServerError, map[string]any{"error": map[string]any{"code": "TestViolation", "message": reason}})
}

func (c *Cloud) note(request, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violations = append(c.violations, Violation{Request: request, Reason: reason})
}

// shape is what the documentation says about a request, beside its path.
type shape struct {
	method string
	// query are the parameters that may be there.
	query []string
	// headers are those that may be there beside everybody's.
	headers []string
	body    bool
	// fault is what faults call such requests, if told is to look for them.
	fault string
}

// everybody's headers are what HTTP libraries and Azure's SDKs send with any request.
func everybodys() []string {
	return []string{
		"Accept", "Accept-Encoding", "Connection", "Content-Length", "User-Agent",
		"Client-Request-Id", "Return-Client-Request-Id", "X-Ms-Client-Request-Id", "X-Ms-Return-Client-Request-Id",
	}
}

// wrong is the reason why r has not this shape, or nothing.
func (s shape) wrong(r *http.Request) string {
	if r.Method != s.method {
		return fmt.Sprintf("method %s instead of %s", r.Method, s.method)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "the query cannot be read: " + err.Error()
	}
	for name, values := range query {
		switch {
		case !slices.Contains(s.query, name):
			return fmt.Sprintf("unknown parameter %q", name)
		case len(values) != 1:
			return fmt.Sprintf("parameter %q is there %d times", name, len(values))
		}
	}
	known := append(everybodys(), s.headers...)
	for name, values := range r.Header {
		switch {
		case !slices.Contains(known, name):
			return fmt.Sprintf("unknown header %s", name)
		case len(values) != 1:
			return fmt.Sprintf("header %s is there %d times", name, len(values))
		}
	}
	if !s.body && r.ContentLength != 0 {
		return "a body where none belongs"
	}
	return ""
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body) // the client has gone
}

func hexID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// guid is the same for the same text.
func guid(text string) string {
	sum := sha256.Sum256([]byte(strings.ToLower(text)))
	h := hex.EncodeToString(sum[:16])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
}
