package azure

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/strongroom/strongroom/provider"
)

// claimed is what the SDK's credential is to us, and counts.
type claimed struct {
	calls  atomic.Int32
	panics bool
}

// GetToken implements [azcore.TokenCredential].
func (c *claimed) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.calls.Add(1)
	time.Sleep(time.Second)
	if c.panics {
		panic(canary)
	}
	return azcore.AccessToken{Token: "token" + o.Claims, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// TestClaims: when Key Vault wants another token than the one that is kept, for reasons
// that it names, all that wait ask once, the new one is kept, and a panic is an error.
func TestClaims(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		inner := &claimed{}
		c := &credential{inner: inner, last: &trouble{}, kept: map[string]kept{}, refusals: map[provider.Secret]refusal{}}
		get := func(claims string) (string, error) {
			token, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{"vault/.default"}, Claims: claims})
			return token.Token, err
		}
		if token, err := get(""); token != "token" || err != nil {
			t.Error(token, err)
		}
		var group sync.WaitGroup
		for range 20 {
			group.Go(func() {
				if token, err := get("new"); token != "tokennew" || err != nil {
					t.Error(token, err)
				}
			})
		}
		group.Wait()
		if token, err := get(""); token != "tokennew" || err != nil || inner.calls.Load() != 2 {
			t.Errorf("%q, %v, after %d calls", token, err, inner.calls.Load())
		}
		inner.panics = true
		if _, err := get("newer"); provider.KindOf(err) != provider.Internal {
			t.Error(err)
		}
	})
}
