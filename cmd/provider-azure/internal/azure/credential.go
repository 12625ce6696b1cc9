package azure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/coalesce"
)

const (
	// early is how long before its end a token is replaced.
	early = 5 * time.Minute
	// A token that Key Vault refuses is replaced if it is older than firstRenewal.
	firstRenewal = time.Minute
	// After a refusal nobody asks again with the same proof for the time of refusalHolds.
	refusalHolds = 10 * time.Second
	// maxProofs is how many pods' tokens are tried for one access token.
	maxProofs = 3
	// loginTry bounds one try to get a token, so that one of which nothing is heard is
	// made again.
	loginTry = 10 * time.Second
	// The metadata endpoint is near: it is tried for a shorter time, but also, with
	// growing pauses, for a minute. Whoever waits has some time left then.
	metadataTry   = 5 * time.Second
	metadataTries = 5
	// After a login that failed for a reason that may pass, those who waited for it
	// within failureHolds do not ask one after the other; and nobody asks for as long as
	// Azure says, up to longestHold.
	failureHolds = time.Second
	longestHold  = time.Minute
	// leastLeft is how long a token must be good for that stands in for a new one.
	leastLeft = 30 * time.Second
)

// credential hands out the access tokens of one identity. The SDK's own credentials
// hold a lock while they ask for a token, whatever becomes of the caller; here every
// caller keeps its own deadline.
type credential struct {
	make  func() (azcore.TokenCredential, error)
	mode  azureclass.Mode
	meter *meter
	calls coalesce.Calls[string, azcore.AccessToken]
	last  *trouble

	mu    sync.Mutex
	inner azcore.TokenCredential // it has a cache of its own
	anew  bool                   // that cache is not to be used
	kept  map[string]kept        // by scope
	// generation changes when tokens are dropped.
	generation int
	failed     error // of the last login
	failedAt   time.Time
	failures   int
	until      time.Time // that it holds for everybody
	// proofs are the tokens of the identity's live pods, which Azure trusts.
	proofs   map[provider.VolumeID]provider.Token
	refusals map[provider.Secret]refusal
}

type kept struct {
	azcore.AccessToken

	since time.Time
}

// refusal is what Azure said to a proof; the proof of a client secret is "".
type refusal struct {
	err error
	at  time.Time
}

var _ azcore.TokenCredential = (*credential)(nil)

// newCredential asks nothing of Azure yet.
func newCredential(c *caller, options azcore.ClientOptions, m *meter) (*credential, error) {
	made := &credential{
		mode: c.mode, meter: m, last: &trouble{}, kept: map[string]kept{},
		proofs: map[provider.VolumeID]provider.Token{}, refusals: map[provider.Secret]refusal{},
	}
	options.Cloud = c.cloud.config()
	options.Retry.TryTimeout, options.Retry.MaxRetryDelay = loginTry, maxPause
	if c.mode == azureclass.VMIdentity {
		options.Retry.TryTimeout, options.Retry.MaxRetryDelay = metadataTry, 0 // as the SDK knows it
		options.Retry.MaxRetries = cmp.Or(options.Retry.MaxRetries, metadataTries-1)
	}
	options.PerRetryPolicies = append(options.PerRetryPolicies, watcher{by: byLogin, meter: m, seen: made.last.note})
	made.make = func() (azcore.TokenCredential, error) { return made.open(c, options) }
	var err error
	if made.inner, err = made.make(); err != nil {
		return nil, provider.Errorf(provider.Invalid, "failed to get keyvault client: %s: %w", c.mode, err)
	}
	return made, nil
}

// open makes the SDK's credential.
func (c *credential) open(who *caller, options azcore.ClientOptions) (azcore.TokenCredential, error) {
	switch who.mode {
	case azureclass.ServicePrincipal:
		return azidentity.NewClientSecretCredential(who.tenant, who.clientID, string(who.clientSecret), &azidentity.ClientSecretCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: who.cloud.custom,
		})
	case azureclass.WorkloadIdentity:
		return azidentity.NewClientAssertionCredential(who.tenant, who.clientID, c.proof, &azidentity.ClientAssertionCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: who.cloud.custom,
		})
	case azureclass.VMIdentity:
		managed := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
		if who.clientID != "" {
			managed.ID = azidentity.ClientID(who.clientID)
		}
		return azidentity.NewManagedIdentityCredential(managed)
	case azureclass.TokenProxy:
		options.Transport = who.proxy
		asked, err := azidentity.NewClientAssertionCredential(who.tenant, who.clientID, c.proof, &azidentity.ClientAssertionCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: true,
		})
		return &proxyCredential{asked, who.proxy}, err
	case azureclass.PodIdentity:
		return newNMI(who, options)
	default:
		return nil, fmt.Errorf("identity mode %s is not known", who.mode)
	}
}

// trust notes the token of a pod, which stands for the identity as long as its volume
// is mounted.
func (c *credential) trust(v provider.VolumeID, t provider.Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proofs[v] = t
}

func (c *credential) distrust(v provider.VolumeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.proofs, v)
}

var errNoProof = errors.New("no pod of the service account has a valid token any more: kubelet brings new ones " +
	"if the CSIDriver object has requiresRepublish")

// proof is the token among those of live pods that is good for longest and was not
// refused just now.
func (c *credential) proof(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var best provider.Token
	for _, t := range c.proofs {
		if _, refused := c.refusals[t.Value]; !refused && (best.Value == "" || t.Expires.After(best.Expires)) {
			best = t
		}
	}
	if best.Value == "" || !best.Expires.IsZero() && !time.Now().Before(best.Expires) {
		return "", errNoProof
	}
	if tried, ok := ctx.Value(triedKey{}).(*provider.Secret); ok {
		*tried = best.Value
	}
	return string(best.Value), nil
}

// GetToken implements [azcore.TokenCredential]. The tenant that the vault's challenge
// names is ignored: the class says which one to ask.
func (c *credential) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) { //nolint:contextcheck // a read outlives its tries
	options.TenantID = ""
	read, _ := ctx.Value(readingKey{}).(*reading)
	if read != nil {
		ctx = read.ctx
	}
	scope := strings.Join(options.Scopes, " ")
	find := func() (azcore.AccessToken, bool) {
		if options.Claims != "" { // Key Vault wants another one
			return azcore.AccessToken{}, false
		}
		return c.find(scope)
	}
	if t, ok := find(); ok {
		return t, nil
	}
	t, _, err := c.calls.Do(ctx, scope+"\n"+options.Claims, time.Time{}, func(ctx context.Context) (azcore.AccessToken, bool, error) {
		if t, ok := find(); ok {
			return t, true, nil
		}
		if err := c.holds(read); err != nil {
			return azcore.AccessToken{}, true, err
		}
		began := time.Now()
		t, err := c.request(ctx, options)
		if ctx.Err() == nil {
			c.note(scope, kept{t, began}, err)
		}
		return t, true, err
	})
	if errors.Is(err, context.DeadlineExceeded) {
		err = &loginFailure{explained(fmt.Errorf("no answer to the request for a token: %w", err))}
	}
	if err != nil && options.Claims == "" {
		return c.spare(scope, err)
	}
	return t, err
}

// reading is a whole read of a vault. A login may take longer than one try of the
// request that needs it.
type reading struct {
	ctx context.Context // its tries have their own
	// As the credential was when it began.
	generation, failures int
}

// readingKey is for the place in a context where a reading is.
type readingKey struct{}

// begin notes what a read can know of the credential.
func (c *credential) begin(ctx context.Context) (context.Context, *reading) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := &reading{ctx: ctx, generation: c.generation, failures: c.failures}
	return context.WithValue(ctx, readingKey{}, r), r
}

// holds returns how the last login failed, if that stands for another one.
func (c *credential) holds(read *reading) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	waited := read != nil && read.failures < c.failures && time.Since(c.failedAt) < failureHolds
	if waited || time.Now().Before(c.until) {
		return c.failed
	}
	return nil
}

// note keeps what became of a login.
func (c *credential) note(scope string, t kept, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.kept[scope], c.failed, c.until = t, nil, time.Time{}
		return
	}
	if e, ok := errors.AsType[*provider.Error](err); ok && passes(e.Kind) {
		c.failures++
		c.failed, c.failedAt, c.until = err, time.Now(), time.Now().Add(min(e.RetryAfter, longestHold))
	}
}

// passes says whether a failure says nothing about who asks, only that Azure does not
// answer, or not now.
func passes(k provider.Kind) bool {
	return k == provider.Unavailable || k == provider.Throttled || k == provider.Timeout
}

// spare returns the token that there is if Azure gives no newer one at the moment.
func (c *credential) spare(scope string, err error) (azcore.AccessToken, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.kept[scope]; passes(provider.KindOf(err)) && time.Until(t.ExpiresOn) > leastLeft {
		return t.AccessToken, nil
	}
	return azcore.AccessToken{}, err
}

// triedKey is for the place in a context where proof notes what it has given.
type triedKey struct{}

// request asks with one proof after another: that one pod's is refused says little
// about the next one's.
func (c *credential) request(ctx context.Context, options policy.TokenRequestOptions) (t azcore.AccessToken, err error) {
	for range maxProofs {
		if err = c.refused(); err != nil {
			return t, err
		}
		tried := new(provider.Secret)
		t, err = c.ask(context.WithValue(ctx, triedKey{}, tried), options)
		if provider.KindOf(err) != provider.Denied {
			return t, err
		}
		c.mu.Lock()
		c.refusals[*tried] = refusal{err, time.Now()}
		c.mu.Unlock()
		if *tried == "" {
			return t, err
		}
	}
	return t, err
}

// refused returns what Azure said if there is no proof left that it did not refuse.
func (c *credential) refused() (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for proof, r := range c.refusals {
		if time.Since(r.at) > refusalHolds {
			delete(c.refusals, proof)
		}
	}
	if len(c.proofs) == 0 {
		return c.refusals[""].err
	}
	for _, t := range c.proofs {
		r, ok := c.refusals[t.Value]
		if !ok {
			return nil
		}
		err = r.err
	}
	return err
}

// ask makes a request. What an error says is read here, once: those who wait get the
// same one, and it holds a reply that is read only once.
func (c *credential) ask(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.mu.Lock()
	inner := c.inner
	if c.anew && options.Claims == "" {
		options.Claims = "{}" // the metadata endpoint does not see it
	}
	c.mu.Unlock()
	began := time.Now()
	t, err := inner.GetToken(ctx, options)
	if err == nil && t.Token == "" { // of the metadata endpoint, the SDK takes that
		err = errors.New("failed to get a token: the reply has none")
	}
	if errors.Is(err, context.DeadlineExceeded) || provider.KindOf(err) == provider.Timeout {
		err = fmt.Errorf("no answer to the request for a token: %w", err)
	}
	if err != nil {
		err = &loginFailure{explained(err)}
	}
	c.meter.token(c.mode, time.Since(began), err)
	if err == nil {
		c.mu.Lock()
		c.anew = false
		c.mu.Unlock()
	}
	return t, err
}

func (c *credential) find(scope string) (azcore.AccessToken, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.kept[scope]
	left := time.Until(t.ExpiresOn)
	return t.AccessToken, ok && left > min(early, t.ExpiresOn.Sub(t.since)/2)
}

// renew drops tokens that Key Vault has just refused, unless they are new; false if
// there is none to drop. Of several who met the refusal the first one drops them for
// all.
func (c *credential) renew(met *reading) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.generation != met.generation {
		return true
	}
	old := false
	for scope, t := range c.kept {
		if time.Since(t.since) > firstRenewal {
			delete(c.kept, scope)
			old = true
		}
	}
	if !old {
		return false
	}
	fresh, err := c.make() // the SDK's would give the same token again
	if err == nil {
		c.inner = fresh
		c.generation++
		c.anew = c.mode == azureclass.VMIdentity // whose tokens are kept for the whole process
	}
	return err == nil
}
