package azure

import (
	"crypto/sha256"
	"maps"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/provider"
)

// The audiences of the tokens that stand for a pod in Azure.
const (
	federatedAudience = "api://AzureADTokenExchange"
	bindingAudience   = "api://AKSIdentityBinding"
)

// Audiences implements [provider.Audiencer]: tokens for other stores are of no use here.
func (*Provider) Audiences() []string { return []string{federatedAudience, bindingAudience} }

// The keys of a nodePublishSecretRef, in lower case; users write them in any.
const (
	secretClientID     = "clientid"
	secretClientSecret = "clientsecret"
)

// identity is everything that decides what Key Vault lets a caller have. Two callers
// with equal identities share a session; nothing passes between others.
type identity struct {
	// Who, as kubelet says it; the UID is that of the service account in the token.
	namespace, account, accountUID string
	// As whom, and where.
	mode     azureclass.Mode
	tenant   string
	clientID string
	secret   [sha256.Size]byte // keyed hash of the client secret
	cloud    environment
	pod      string // that alone has a token of pod identity
}

// caller is who asks for a volume, and with what.
type caller struct {
	identity

	asks         provider.Pod
	proxy        *tokenProxy // of AKS
	token        provider.Token
	clientSecret provider.Secret
}

// admit finds out who asks, and refuses whom the operator or Azure would.
func (p *Provider) admit(req *provider.Request, class *azureclass.Class) (*caller, error) {
	where, err := p.clouds.find(class.Cloud, class.CloudFile)
	if err != nil {
		return nil, provider.Errorf(provider.Invalid, "%w", err)
	}
	c := &caller{asks: req.Pod, proxy: p.proxy, identity: identity{
		namespace: req.Pod.Namespace, account: req.Pod.ServiceAccount,
		mode: class.Mode, tenant: class.Tenant, clientID: class.ClientID, cloud: where,
	}}
	if err = class.CheckLogin(); err != nil {
		return nil, provider.At(provider.LoggingIn, provider.Errorf(provider.Invalid, "%w", err))
	}
	switch class.Mode {
	case azureclass.ServicePrincipal:
		err = c.takeSecret(p.hashKey, req.Secrets)
	case azureclass.WorkloadIdentity:
		err = c.takeToken(req, federatedAudience)
	case azureclass.TokenProxy:
		err = c.takeToken(req, bindingAudience)
	case azureclass.PodIdentity:
		c.pod = req.Pod.Name + "/" + req.Pod.UID
	case azureclass.VMIdentity:
		if p.forbidNodeIdentity {
			err = provider.Errorf(provider.Invalid, "the operator of provider-azure does not let classes use the identity of the node: "+
				"use workload identity (clientID), or see its flag allow-node-identity")
		}
	}
	if err != nil {
		return nil, provider.At(provider.LoggingIn, err)
	}
	return c, nil
}

// takeSecret takes what a service principal logs in with. (azure-contract 7.4)
func (c *caller) takeSecret(key *provider.HashKey, secrets map[string]provider.Secret) error {
	if len(secrets) == 0 {
		return provider.Errorf(provider.Invalid, "%s: nodePublishSecretRef secret is not set: let the pod's volume name a Secret with %s and %s, "+
			"or set clientID in the class for workload identity", c.mode, secretClientID, secretClientSecret)
	}
	var id string
	for _, name := range slices.Sorted(maps.Keys(secrets)) { // of two spellings always the same one
		value := secrets[name]
		switch strings.ToLower(name) {
		case secretClientID:
			id = strings.TrimSpace(string(value))
		case secretClientSecret:
			c.clientSecret = value
		}
	}
	switch {
	case id == "":
		return provider.Errorf(provider.Invalid, "%s: could not find %s in the Secret that nodePublishSecretRef names", c.mode, secretClientID)
	case c.clientSecret == "":
		return provider.Errorf(provider.Invalid, "%s: could not find %s in the Secret that nodePublishSecretRef names", c.mode, secretClientSecret)
	}
	c.clientID = id
	c.secret = key.Sum([]byte(string(c.clientSecret)))
	return nil
}

// takeToken takes the token of the pod that Azure trusts, and checks it against what
// kubelet says of the pod. (azure-contract 7.7)
func (c *caller) takeToken(req *provider.Request, audience string) error {
	token := req.Tokens[audience]
	if token.Value == "" {
		return provider.Errorf(provider.Invalid, "%s: no service account token for audience %s: add the audience to spec.tokenRequests of the CSIDriver object",
			c.mode, audience)
	}
	uid, err := req.Pod.CheckToken(token)
	if err != nil {
		return err
	}
	c.token, c.accountUID = token, uid
	return nil
}

// String says as whom Azure is asked.
func (c *caller) String() string {
	switch {
	case c.mode == azureclass.PodIdentity:
		return string(c.mode) + " of pod " + c.namespace + "/" + c.asks.Name
	case c.clientID == "":
		return string(c.mode)
	}
	return string(c.mode) + " with client id " + c.clientID
}

// hide takes out of a text what must not be in an error.
func (c *caller) hide(text string) string {
	for _, secret := range []string{string(c.clientSecret), string(c.token.Value)} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[hidden]")
		}
	}
	return text
}
