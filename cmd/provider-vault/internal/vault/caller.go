package vault

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"

	"github.com/strongroom/strongroom/internal/vaultclass"
	"github.com/strongroom/strongroom/provider"
)

// defaultAudience is that of the pod's token when the class names none.
const defaultAudience = "vault"

// The keys of a nodePublishSecretRef.
const (
	secretRoleID   = "role_id"
	secretSecretID = "secret_id"
	secretCert     = "tls.crt"
	secretKey      = "tls.key"
)

// identity is everything that decides what Vault lets a caller have. Two callers
// with equal identities share a session; nothing passes between others.
type identity struct {
	// Who, as kubelet says it; the UID is that of the service account in the token.
	namespace, account, accountUID string
	// pod is set where a session is one pod's alone.
	pod string
	// Where.
	address, vaultNamespace string
	transport               transportKey // with the contents of the files for TLS
	// How.
	method, mount, role, audience string
	credential                    [sha256.Size]byte // keyed hash of what nodePublishSecretRef holds
}

// caller is who asks for a volume, and with what.
type caller struct {
	identity

	onePod   string // names the pod
	settings settings
	via      *transport
	jwt      provider.Secret
	roleID   provider.Secret
	secretID provider.Secret
	vouched  bool // kubelet's token says that the pod is who it is
}

// admit finds out who asks, and refuses whom the operator or Vault would.
func (p *Provider) admit(ctx context.Context, req *provider.Request, class *vaultclass.Class) (*caller, error) {
	c := &caller{
		onePod:   req.Pod.UID + "/" + req.Pod.Name, // kubelet tells both, older drivers perhaps one
		settings: resolve(p.env, p.flags, classLevel(class), p.agent),
		identity: identity{
			namespace: req.Pod.Namespace, account: req.Pod.ServiceAccount,
			method: class.AuthMethod, role: class.Role,
		},
	}
	if err := c.identify(ctx, p, req, class); err != nil {
		return nil, err
	}
	if err := c.takeSecrets(p.hashKey, req.Secrets); err != nil {
		return nil, err
	}
	c.address, c.vaultNamespace, c.mount = c.settings.address, c.settings.namespace, c.settings.authMount
	if err := p.guard.address(c.address); err != nil {
		return nil, err
	}
	if err := p.guard.tls(c.settings.tls, c.address); err != nil {
		return nil, err
	}
	_, socket := splitUnix(c.address)
	via, err := p.transports.get(c.settings.tls, socket)
	if err != nil {
		return nil, provider.Errorf(provider.Invalid, "TLS settings: %w", err)
	}
	c.via, c.transport = via, via.key
	if c.method == vaultclass.JWT && !p.shareJWT {
		c.pod = c.onePod
	}
	return c, nil
}

// identify checks the pod's token against what kubelet says of the pod.
func (c *caller) identify(ctx context.Context, p *Provider, req *provider.Request, class *vaultclass.Class) error {
	audience := class.Audience
	if audience == "" {
		audience = defaultAudience
	}
	token, ok := req.Tokens[audience]
	needed := c.method == vaultclass.Kubernetes || c.method == vaultclass.JWT
	switch {
	case ok && token.Value != "":
	case !needed:
		return nil
	case p.ownTokens.request == nil:
		return noToken(audience, req.Tokens)
	default:
		var err error
		if token, err = p.ownTokens.get(ctx, req.Pod, class.Audience); err != nil {
			return err
		}
	}
	uid, err := req.Pod.CheckToken(token)
	if err != nil {
		return fmt.Errorf("audience %q: %w", audience, err)
	}
	c.jwt, c.accountUID, c.vouched = token.Value, uid, true
	if needed {
		c.audience = audience
	}
	return nil
}

func noToken(audience string, tokens provider.Tokens) error {
	return provider.Errorf(provider.Invalid,
		"no service account token for audience %q (there are: %s): add the audience %q to spec.tokenRequests of the CSIDriver object, "+
			"or name another one in the parameter audience, or let the provider ask Kubernetes for tokens by its flag --allow-token-request",
		audience, audiences(tokens), audience)
}

func audiences(tokens provider.Tokens) string {
	if len(tokens) == 0 {
		return "none"
	}
	names := slices.Sorted(maps.Keys(tokens))
	return fmt.Sprintf("%q", names[:min(len(names), 8)])
}

// takeSecrets takes what the method needs out of the Secret that the pod names.
func (c *caller) takeSecrets(key *provider.HashKey, secrets map[string]provider.Secret) error {
	var names []string
	switch c.method {
	case vaultclass.AppRole:
		names = []string{secretRoleID, secretSecretID}
		c.roleID, c.secretID = secrets[secretRoleID], secrets[secretSecretID]
	case vaultclass.Cert:
		names = []string{secretCert, secretKey}
		if secrets[secretKey] == "" {
			return noSecret(c.method, secretKey)
		}
		c.settings.tls.certPEM, c.settings.tls.keyPEM = string(secrets[secretCert]), secrets[secretKey]
	default:
		return nil
	}
	if secrets[names[0]] == "" { // a role of AppRole can do without a secret_id
		return noSecret(c.method, names[0])
	}
	c.credential = key.Sum([]byte(secrets[names[0]]), []byte(secrets[names[1]]))
	return nil
}

func noSecret(method, key string) error {
	return provider.Errorf(provider.Invalid, "authMethod %s needs the key %s in the Secret that nodePublishSecretRef of the pod's volume names", method, key)
}

// secrets are what must not show in an error.
func (c *caller) secrets() []string {
	return []string{string(c.jwt), string(c.roleID), string(c.secretID)}
}
