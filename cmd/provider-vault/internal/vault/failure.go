package vault

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/provider"
)

// maxErrorText bounds what of Vault's own text gets into an error.
const maxErrorText = 700

// failure gives an error of the library a kind and a text without secrets.
func (c *conn) failure(q query, err error, resp *api.Response) error {
	var status *api.ResponseError
	var large *http.MaxBytesError
	var cert *tls.CertificateVerificationError
	var own *provider.Error
	var timeout net.Error
	switch {
	case errors.As(err, &large):
		return provider.Errorf(provider.TooLarge, "Vault's reply exceeds %d bytes", large.Limit)
	case errors.As(err, &status):
		return c.refused(q, status, resp)
	case errors.As(err, &own):
		return own
	case errors.As(err, &cert):
		return provider.Errorf(provider.Unavailable,
			"%s: check the address, vaultCACertPath and vaultTLSServerName of the class, or the same settings of the provider", q.clean(err.Error()))
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return provider.Errorf(provider.Timeout, "%w", outage{q.clean(err.Error())})
	}
	return provider.Errorf(provider.Unavailable, "%w", outage{q.clean(err.Error())})
}

// outage marks the errors that say nothing but that Vault did not answer, or not now.
type outage struct{ text string }

func (o outage) Error() string { return o.text }

func isOutage(err error) bool {
	_, ok := errors.AsType[outage](err)
	return ok
}

// deadToken marks the refusal of a token that Vault does not know any more.
type deadToken struct{ text string }

func (d deadToken) Error() string { return d.text }

func isDeadToken(err error) bool {
	_, ok := errors.AsType[deadToken](err)
	return ok
}

// saysDead looks at Vault's own words; a path could have any.
func saysDead(e *api.ResponseError) bool {
	return e.StatusCode == http.StatusForbidden && !e.RawError &&
		slices.ContainsFunc(e.Errors, func(said string) bool { return strings.Contains(said, "* invalid token") })
}

// refused tells what Vault said, in Vault's own words.
func (c *conn) refused(q query, e *api.ResponseError, resp *api.Response) error {
	said := strings.Join(e.Errors, "; * ")
	if e.RawError && said != "" {
		said = fmt.Sprintf("a text that is not Vault's (%d bytes)", len(said))
	} else if warnings := errorWarnings(resp); warnings != "" {
		said += " (" + warnings + ")"
	}
	ns := ""
	if n := c.client.Namespace(); n != "" {
		ns = "; Namespace: " + n
	}
	text := fmt.Sprintf("%s %s: Code: %d%s; Errors: * %s", e.HTTPMethod, q.clean(e.URL), e.StatusCode, q.clean(ns), q.clean(said))
	if cure := cureFor(q, e, said); cure != "" {
		text += ": " + cure
	}
	err := errors.New(text)
	if e.StatusCode == http.StatusTooManyRequests || e.StatusCode >= 500 || e.StatusCode == 472 || e.StatusCode == 473 {
		err = outage{text}
	}
	if saysDead(e) {
		err = deadToken{text}
	}
	return &provider.Error{Kind: refusal(q, e), RetryAfter: retryAfter(resp.Response), Err: err}
}

// errorWarnings are those of an error reply, which name the cause of a 404 when
// data/ is missing in a path.
func errorWarnings(resp *api.Response) string {
	var body struct {
		Warnings []string `json:"warnings"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(&body) != nil {
		return ""
	}
	return strings.Join(body.Warnings, "; ")
}

// refusal is the kind of a refusal. An auth method answers 400 to a token or a
// role that it does not accept.
func refusal(q query, e *api.ResponseError) provider.Kind {
	kind := kindOf(e.StatusCode)
	switch {
	case kind == provider.Invalid && e.RawError:
		return q.badReply()
	case kind == provider.Invalid && q.operation == opLogin:
		return provider.Denied
	}
	return kind
}

func kindOf(status int) provider.Kind {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return provider.Denied
	case status == http.StatusNotFound:
		return provider.NotFound
	case status == http.StatusTooManyRequests:
		return provider.Throttled
	case status == http.StatusRequestEntityTooLarge:
		return provider.TooLarge
	case status == http.StatusPreconditionFailed, status == 472, status == 473, status >= 500:
		return provider.Unavailable
	}
	return provider.Invalid
}

func retryAfter(resp *http.Response) time.Duration {
	if resp == nil {
		return 0
	}
	text := resp.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 {
		return min(time.Duration(min(seconds, 86400))*time.Second, time.Hour)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, time.Until(at)), time.Hour)
	}
	return 0
}

// clean makes text from outside fit for an event: one line, bounded, and without
// the tokens that a server could send back.
func (q *query) clean(text string) string {
	for _, s := range append([]string{q.token}, q.secrets...) {
		if s != "" {
			text = strings.ReplaceAll(text, s, provider.Secret(s).String())
		}
	}
	return oneLine(text)
}

func oneLine(text string) string {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || unicode.IsSpace(r)
	}), " ")
	if len(text) > maxErrorText {
		text = text[:maxErrorText] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}
