package vault

import (
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
)

// maxRetryAfter is the longest wait that is done here rather than by kubelet.
const maxRetryAfter = 10 * time.Second

// conn is a way to one Vault and one of its namespaces. It holds no token.
type conn struct {
	client    *api.Client
	timeout   time.Duration
	redirects bool
	guard     *guard
	slots     chan struct{} // bounds the requests to this Vault that are under way
	meter     *meter
}

// query is one request to Vault.
type query struct {
	vaultclass.Read

	operation operation
	token     string   // none at a login
	secrets   []string // what else must not show in an error
}

// connect prepares a client; it does not touch the network.
func (p *Provider) connect(s settings, t *transport) (*conn, error) {
	address, _ := splitUnix(s.address)
	client, err := api.NewClient(p.clientConfig(address, t))
	if err != nil {
		return nil, provider.Errorf(provider.Invalid, "make a Vault client: %w", err)
	}
	// The library takes both from the environment. Tokens go with each request.
	client.ClearToken()
	client.ClearNamespace()
	if s.namespace != "" {
		client.SetNamespace(s.namespace)
	}
	return &conn{
		client: client, timeout: p.library.Timeout, redirects: !p.library.DisableRedirects,
		guard: p.guard, slots: p.slotsOf(origin(s.address)), meter: p.meter,
	}, nil
}

// slotsOf returns what bounds the requests to one address, so that one Vault that hangs
// holds up no mount from another. It needs p.mu.
func (p *Provider) slotsOf(address string) chan struct{} {
	slots, ok := p.slots[address]
	if !ok {
		if len(p.slots) >= maxAddresses { // those who have them keep them
			clear(p.slots)
		}
		slots = make(chan struct{}, maxRequests)
		p.slots[address] = slots
	}
	return slots
}

// clientConfig repeats the library's own, but for what would change a shared
// transport: the timeout, unix addresses, redirects and TLS are ours.
func (p *Provider) clientConfig(address string, t *transport) *api.Config {
	return &api.Config{
		Address:          address,
		HttpClient:       &http.Client{Transport: t, CheckRedirect: stayHere},
		MinRetryWait:     p.library.MinRetryWait,
		MaxRetryWait:     p.library.MaxRetryWait,
		MaxRetries:       p.library.MaxRetries,
		Backoff:          p.library.Backoff,
		CheckRetry:       checkRetry,
		Limiter:          p.library.Limiter,
		SRVLookup:        p.library.SRVLookup,
		DisableRedirects: true,
	}
}

func stayHere(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// checkRetry is the library's policy, unless the wait would outlast the call:
// then Vault's answer is worth more than a passed deadline.
func checkRetry(ctx context.Context, resp *http.Response, err error) (bool, error) {
	retry, err := api.DefaultRetryPolicy(ctx, resp, err)
	if !retry || err != nil {
		return retry, err
	}
	wait := max(2*time.Second, retryAfter(resp))
	deadline, ok := ctx.Deadline()
	if wait > maxRetryAfter || ok && time.Until(deadline) < wait {
		return false, nil
	}
	return true, nil
}

// do makes one request and reads the whole reply.
func (c *conn) do(ctx context.Context, q query) (r *reply, err error) {
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return nil, provider.Errorf(provider.Timeout, "%w", outage{"too many requests to Vault are under way: " + ctx.Err().Error()})
	}
	start := time.Now()
	defer func() { c.meter.requested(q.operation, time.Since(start), err) }()
	resp, err := c.send(ctx, c.request(q))
	if resp != nil && resp.Response != nil {
		defer func() { _ = resp.Body.Close() }() // read to its end, or given up
	}
	if err != nil {
		return nil, c.failure(q, err, resp)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, provider.Errorf(provider.Unavailable, "Vault answered %d and no second redirect is followed", resp.StatusCode)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, c.failure(q, err, resp)
	}
	r, err = parseReply(body)
	if err != nil {
		return nil, provider.Errorf(q.badReply(), "%w", err)
	}
	r.query = query{token: q.token, secrets: q.secrets}
	return r, nil
}

// badReply is the kind of a reply that is not Vault's: at a login the address
// leads to something else, later a class asks for a path that cannot be mounted.
func (q *query) badReply() provider.Kind {
	if q.operation == opRead {
		return provider.Invalid
	}
	return provider.Unavailable
}

// requestHeader has another value with each request. A Vault Agent that caches gives
// equal requests one reply, and so one lease to many volumes, and a token that Vault has
// refused once more.
const requestHeader = "X-Strongroom-Request"

func (c *conn) request(q query) *api.Request {
	req := c.client.NewRequest(q.Method, q.Path)
	req.Headers.Set(requestHeader, rand.Text())
	req.ClientToken = q.token
	if q.operation != opRead {
		req.WrapTTL = "" // VAULT_WRAP_TTL is for what is read
	}
	if values, err := url.ParseQuery(q.Query); err == nil {
		req.Params = values
	}
	if q.Args != "" {
		req.BodyBytes = []byte(q.Args)
	}
	return req
}

// send follows one redirect, the way in which a standby names the active node.
func (c *conn) send(ctx context.Context, req *api.Request) (*api.Response, error) {
	resp, err := c.raw(ctx, req)
	if err != nil || !c.redirects || !isRedirect(resp.StatusCode) {
		return resp, err
	}
	target, err := c.redirectTarget(resp)
	_ = resp.Body.Close()
	if err != nil {
		return nil, err
	}
	req.URL, req.Host = target, target.Host
	return c.raw(ctx, req)
}

func (c *conn) raw(ctx context.Context, req *api.Request) (*api.Response, error) {
	//nolint:staticcheck // the only call of the library that takes any method and body
	return c.client.RawRequestWithContext(ctx, req)
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

func (c *conn) redirectTarget(resp *api.Response) (*url.URL, error) {
	target, err := resp.Location()
	if err != nil {
		return nil, provider.Errorf(provider.Unavailable, "vault redirects to nowhere")
	}
	if target.Scheme != "https" && (target.Scheme != "http" || resp.Request.URL.Scheme != "http") {
		return nil, provider.Errorf(provider.Unavailable, "vault redirects to an address that is not https: the token is not sent there")
	}
	if err := c.guard.address(target.Scheme + "://" + target.Host); err != nil {
		return nil, provider.Errorf(provider.Invalid, "vault redirects: %w: the token is not sent there", err)
	}
	return target, nil
}
