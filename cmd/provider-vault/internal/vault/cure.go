package vault

import (
	"net/http"
	"strings"

	"github.com/hashicorp/vault/api"
)

// cures says what to do about what Vault says, the first that fits.
//
//nolint:gochecknoglobals // a table that nothing changes
var cures = []struct {
	operation operation // "" is any
	said      string    // in lower case
	cure      string
}{
	{"", "vault is sealed", "unseal Vault; mounted volumes keep their files, and pods that start are tried again"},
	{"", "not yet initialized", "initialise Vault, or check that the address is that of the right one"},
	{
		opLogin, "invalid audience",
		"the role of Vault and the pod's token name different audiences: set the parameter audience of the class to the role's audience " +
			"(bound_audiences of a jwt role), and list it in spec.tokenRequests of the CSIDriver object",
	},
	{opLogin, "service account name not authorized", "add the service account to bound_service_account_names of the role"},
	{opLogin, "namespace not authorized", "add the pod's namespace to bound_service_account_namespaces of the role"},
	{opLogin, "invalid role name", "make the role in Vault, or correct roleName of the class"},
	{opLogin, "role could not be found", "make the role in Vault, or correct roleName of the class"},
	{opLogin, "no handler for route", "enable the auth method in Vault, or correct vaultAuthMountPath of the class"},
	{opLogin, "invalid role or secret id", "check role_id and secret_id in the Secret that nodePublishSecretRef names; a secret_id can have expired"},
	{
		opLogin, "permission denied",
		"if the role is right, Vault may be unable to review tokens: check kubernetes_host, kubernetes_ca_cert and token_reviewer_jwt of the " +
			"auth mount (Vault's log says what the API server answered); the reviewer needs the ClusterRole system:auth-delegator",
	},
	{opRead, "invalid token", "the login was revoked or has ended in Vault; the next try logs in anew"},
	{opRead, "permission denied", "grant the path to the role's policies"},
	{opRead, "no handler for route", "enable the secrets engine in Vault, or correct secretPath of the class"},
}

// cureFor says what to do about a refusal; "" if nothing is known.
func cureFor(q query, e *api.ResponseError, said string) string {
	said = strings.ToLower(said)
	for _, c := range cures {
		if (c.operation == "" || c.operation == q.operation) && strings.Contains(said, c.said) {
			return c.cure
		}
	}
	switch {
	case e.StatusCode == http.StatusNotFound && said == "":
		return "nothing is there; a path of KV version 2 has data/ after the mount's name, and a deleted version is gone"
	case e.StatusCode == 472 || e.StatusCode == 473 || e.StatusCode == http.StatusTooManyRequests && said == "":
		return "a standby answers that cannot say who is active: use the address of a load balancer that asks sys/health"
	}
	return ""
}
