package azure

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/coalesce"
)

// early is how long before its end a token is replaced.
const early = 5 * time.Minute

// credential hands out the access tokens of one identity. The SDK's own credentials
// hold a lock while they ask for a token, whatever becomes of the caller; here every
// caller keeps its own deadline.
type credential struct {
	inner azcore.TokenCredential
	mode  azureclass.Mode
	meter *meter
	calls coalesce.Calls[string, azcore.AccessToken]

	mu   sync.Mutex
	kept map[string]azcore.AccessToken // by scope
	// assertions are the tokens of the identity's live pods, which Azure trusts.
	assertions map[provider.VolumeID]provider.Token
}

var _ azcore.TokenCredential = (*credential)(nil)

// newCredential asks nothing of Azure yet.
func newCredential(c *caller, options azcore.ClientOptions, m *meter) (*credential, error) {
	made := &credential{mode: c.mode, meter: m, kept: map[string]azcore.AccessToken{}, assertions: map[provider.VolumeID]provider.Token{}}
	options.Cloud = c.cloud.config()
	var err error
	switch c.mode {
	case azureclass.ServicePrincipal:
		made.inner, err = azidentity.NewClientSecretCredential(c.tenant, c.clientID, string(c.clientSecret), &azidentity.ClientSecretCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: c.cloud.custom,
		})
	case azureclass.WorkloadIdentity:
		made.inner, err = azidentity.NewClientAssertionCredential(c.tenant, c.clientID, made.assertion, &azidentity.ClientAssertionCredentialOptions{
			ClientOptions: options, DisableInstanceDiscovery: c.cloud.custom,
		})
	case azureclass.VMIdentity:
		managed := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
		if c.clientID != "" {
			managed.ID = azidentity.ClientID(c.clientID)
		}
		made.inner, err = azidentity.NewManagedIdentityCredential(managed)
	default:
		err = errors.New("this provider does not know the identity mode yet")
	}
	if err != nil {
		return nil, provider.Errorf(provider.Invalid, "failed to get keyvault client: %s: %w", c.mode, err)
	}
	return made, nil
}

// trust notes the token of a pod, which stands for the identity as long as its volume
// is mounted.
func (c *credential) trust(v provider.VolumeID, t provider.Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.assertions[v] = t
}

func (c *credential) distrust(v provider.VolumeID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.assertions, v)
}

// assertion is the token among those of live pods that is good for longest.
func (c *credential) assertion(context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var best provider.Token
	for _, t := range c.assertions {
		if best.Value == "" || t.Expires.After(best.Expires) {
			best = t
		}
	}
	if best.Value == "" || !best.Expires.IsZero() && !time.Now().Before(best.Expires) {
		return "", errors.New("no pod of the service account has a valid token any more")
	}
	return string(best.Value), nil
}

// GetToken implements [azcore.TokenCredential]. The tenant that the vault's challenge
// names is ignored: the class says which one to ask.
func (c *credential) GetToken(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	options.TenantID = ""
	if len(options.Scopes) != 1 || options.Claims != "" {
		return c.ask(ctx, options)
	}
	scope := options.Scopes[0]
	if t, ok := c.find(scope); ok {
		return t, nil
	}
	t, _, err := c.calls.Do(ctx, scope, time.Time{}, func(ctx context.Context) (azcore.AccessToken, bool, error) {
		if t, ok := c.find(scope); ok {
			return t, true, nil
		}
		t, err := c.ask(ctx, options)
		if err == nil {
			c.mu.Lock()
			c.kept[scope] = t
			c.mu.Unlock()
		}
		return t, true, err
	})
	return t, err
}

// ask makes a request. What an error says is read here, once: those who wait get the
// same one, and it holds a reply that is read only once.
func (c *credential) ask(ctx context.Context, options policy.TokenRequestOptions) (azcore.AccessToken, error) {
	began := time.Now()
	t, err := c.inner.GetToken(ctx, options)
	if err != nil {
		err = &loginFailure{explained(err)}
	}
	c.meter.token(c.mode, time.Since(began), err)
	return t, err
}

func (c *credential) find(scope string) (azcore.AccessToken, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.kept[scope]
	margin := min(early, time.Until(t.ExpiresOn)/2)
	return t, ok && time.Until(t.ExpiresOn) > margin && margin > 0
}

// newTransport is one for all: what Azure's certificates are checked against is the
// same for every class.
func newTransport() *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // nothing replaces it
	t.MaxIdleConnsPerHost = 16
	t.MaxResponseHeaderBytes = 64 << 10
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
