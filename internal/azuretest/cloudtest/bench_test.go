package cloudtest_test

import (
	"testing"

	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"github.com/strongroom/strongroom/internal/azuretest/cloudtest"
)

// What a read costs, client and TLS included: the cloud must not be what a load test measures.
func BenchmarkGetSecret(b *testing.B) {
	azure := cloudtest.Start(b, cloud.Config{State: cloud.State{
		Tenants: []cloud.Tenant{{ID: tenant, Applications: []cloud.Application{{ClientID: principal, Secrets: []string{password}}}}},
		Vaults:  []cloud.Vault{{Name: "shop", Tenant: tenant, Access: map[string]cloud.Access{principal: {cloud.Secrets: {"get"}}}}},
	}})
	if _, err := azure.PutSecret("shop", "db", "hunter2"); err != nil {
		b.Fatal(err)
	}
	g := &ground{Running: azure}
	client := g.secrets(b, "shop", g.principal(b))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := client.GetSecret(b.Context(), "db", "", nil); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
