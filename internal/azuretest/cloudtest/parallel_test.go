package cloudtest_test

import (
	"fmt"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"golang.org/x/sync/errgroup"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
)

// Many clients of several sorts at once, while the cloud changes under them.
func TestParallel(t *testing.T) {
	g := start(t)
	g.put(t, "shop", "first")
	g.put(t, "roles", "first")
	credentials := map[string]azcore.TokenCredential{
		principal: g.principal(t), workload: g.federated(t, workload, g.assertion(t, nil)), machine: g.managed(t, ""), assigned: g.managed(t, assigned),
	}
	const each = 5
	var group errgroup.Group
	for _, credential := range credentials {
		for _, vault := range []string{"shop", "roles"} {
			client := g.secrets(t, vault, credential)
			for range each {
				group.Go(func() error {
					if _, err := client.GetSecret(t.Context(), "db", "", nil); err != nil {
						return fmt.Errorf("vault %s: %w", vault, err)
					}
					if _, err := g.PutSecret(vault, "db", "next"); err != nil {
						return err
					}
					_, err := client.NewListSecretPropertiesVersionsPager("db", nil).NextPage(t.Context())
					return err
				})
			}
		}
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	counters := g.Counters()
	for client := range credentials {
		for _, op := range []string{"get", "list"} {
			if got := counters.Count(cloud.Read{Client: client, Op: op, Status: 200}); got != 2*each {
				t.Errorf("counted %d %ss of %s, want %d", got, op, client, 2*each)
			}
		}
	}
	if counters.Peak["shop"] < 1 || counters.Peak["shop"] > 4*each {
		t.Errorf("%d requests at once, want 1 to %d", counters.Peak["shop"], 4*each)
	}
}
