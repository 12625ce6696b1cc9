package vault

import (
	"context"
	"sync"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// ownTokens are tokens that the provider asked Kubernetes for, since kubelet brought
// none. A pod's is kept while it is good for some minutes.
type ownTokens struct {
	request func(ctx context.Context, pod provider.Pod, audience string) (provider.Token, error)

	mu   sync.Mutex
	kept map[ownToken]provider.Token
}

type ownToken struct {
	pod      provider.Pod
	audience string
}

// maxOwnTokens is more pods than a node has; all are forgotten then.
const maxOwnTokens = 1024

func (o *ownTokens) get(ctx context.Context, pod provider.Pod, audience string) (provider.Token, error) {
	key := ownToken{pod, audience}
	const margin = 5 * time.Minute
	o.mu.Lock()
	token, ok := o.kept[key]
	o.mu.Unlock()
	if ok && time.Until(token.Expires) > margin {
		return token, nil
	}
	token, err := o.request(ctx, pod, audience)
	if err != nil {
		return token, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kept == nil || len(o.kept) >= maxOwnTokens {
		o.kept = map[ownToken]provider.Token{}
	}
	o.kept[key] = token
	return token, nil
}
