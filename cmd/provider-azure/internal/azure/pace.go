package azure

import (
	"context"

	"golang.org/x/time/rate"

	"github.com/strongroom/strongroom/provider"
)

// Key Vault allows some 2,000 requests in 10 seconds to one vault, of all its clients.
// A node keeps below that by itself, and its refreshes leave room for first mounts.
const (
	requestsPerSecond = 150
	refreshPerSecond  = 100
)

// pace bounds the requests to one vault.
type pace struct {
	all     *rate.Limiter
	refresh *rate.Limiter
}

func newPace() *pace {
	return &pace{
		all:     rate.NewLimiter(requestsPerSecond, requestsPerSecond),
		refresh: rate.NewLimiter(refreshPerSecond, refreshPerSecond),
	}
}

// wait returns when a request may be made.
func (p *pace) wait(ctx context.Context, refresh bool) error {
	var err error
	if refresh {
		err = p.refresh.Wait(ctx)
	}
	if err == nil {
		err = p.all.Wait(ctx)
	}
	if err != nil {
		return provider.Errorf(provider.Timeout, "too many requests to the vault are waiting on this node: %w", err)
	}
	return nil
}

// maxPaces bounds what classes can make the provider remember.
const maxPaces = 256

// paceOf returns the pace of a vault, for all identities. It needs p.mu.
func (p *Provider) paceOf(url string) *pace {
	found := p.paces[url]
	if found == nil {
		if len(p.paces) >= maxPaces {
			clear(p.paces)
		}
		found = newPace()
		p.paces[url] = found
	}
	return found
}
