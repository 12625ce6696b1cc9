package setup

import (
	"context"
	"path/filepath"

	"github.com/strongroom/strongroom/test/vault/internal/api"
	"github.com/strongroom/strongroom/test/vault/internal/reviewer"
)

// Kubernetes mounts Kubernetes auth from a plugin in a folder and points it at
// a cluster. Vault asks that cluster with a token of its own.
func Kubernetes(ctx context.Context, c *api.Client, plugins string, cluster reviewer.Access) error {
	if err := register(ctx, c, "auth/kubernetes", filepath.Join(plugins, AuthPlugin)); err != nil {
		return err
	}
	if err := missing(ctx, c, "sys/auth/kubernetes", map[string]string{"type": "kubernetes"}); err != nil {
		return err
	}
	return c.Put(ctx, "auth/kubernetes/config", map[string]any{
		"kubernetes_host":      cluster.Host,
		"kubernetes_ca_cert":   cluster.CA,
		"token_reviewer_jwt":   cluster.Token,
		"disable_local_ca_jwt": true,
	}, nil)
}

// Auth mounts approle, cert and jwt. The last one takes the keys of a cluster's
// service accounts from its API server.
func Auth(ctx context.Context, c *api.Client, cluster reviewer.Access) error {
	for _, method := range []string{"approle", "cert", "jwt"} {
		if err := missing(ctx, c, "sys/auth/"+method, map[string]string{"type": method}); err != nil {
			return err
		}
	}
	return c.Put(ctx, "auth/jwt/config", map[string]any{
		"jwks_url":           cluster.Host + "/openid/v1/jwks",
		"jwks_ca_pem":        cluster.CA,
		"jwt_supported_algs": []string{"RS256", "ES256", "ES384", "ES512"},
	}, nil)
}
