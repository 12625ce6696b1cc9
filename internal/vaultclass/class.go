package vaultclass

import (
	"cmp"
	"strconv"
	"time"
)

// The parameters of a class. Their case matters.
const (
	paramRole          = "roleName"
	paramObjects       = "objects"
	paramAddress       = "vaultAddress"
	paramNamespace     = "vaultNamespace"
	paramAuthMount     = "vaultAuthMountPath"
	paramAuthMountOld  = "vaultKubernetesMountPath"
	paramAudience      = "audience"
	paramCACert        = "vaultCACertPath"
	paramCADirectory   = "vaultCADirectory"
	paramTLSServerName = "vaultTLSServerName"
	paramClientCert    = "vaultTLSClientCertPath"
	paramClientKey     = "vaultTLSClientKeyPath"
	paramSkipVerify    = "vaultSkipTLSVerify"
	paramAuthMethod    = "authMethod"
	paramStaleIfError  = "staleIfError"
)

// The ways to log in.
const (
	Kubernetes = "kubernetes"
	JWT        = "jwt"
	AppRole    = "approle"
	Cert       = "cert"
)

// Class is a parsed class. An empty text means that the class leaves the
// setting to whoever configured the provider.
type Class struct {
	Role      string
	Address   string
	Namespace string
	// AuthMethod is one of [Kubernetes], [JWT], [AppRole] and [Cert].
	AuthMethod string
	AuthMount  string
	Audience   string
	TLS        TLS
	// StaleIfError is how old a value may be that a new pod gets while Vault does not
	// answer; 0 for none.
	StaleIfError time.Duration
	// Objects is never empty, and in the order of the class.
	Objects []Object
	// Warnings say what was ignored although its author may not expect that.
	Warnings []string
}

// TLS is what a class says about the connection. Paths are those of the
// provider's container.
type TLS struct {
	CACert      string
	CADirectory string
	ServerName  string
	ClientCert  string
	ClientKey   string
	// SkipVerify is nil when the class does not say.
	SkipVerify *bool
}

// Parse reads the parameters of a class. The error lists everything that is
// wrong, and neither it nor a warning shows a value of secretArgs.
func Parse(params map[string]string) (*Class, error) {
	c, p, warnings := parse(params)
	if err := p.err(); err != nil {
		return nil, err
	}
	for _, w := range warnings {
		c.Warnings = append(c.Warnings, w.String())
	}
	return c, nil
}

// Check is [Parse] for those who look for what is wrong: one by one, with the place of
// each. If there is something, the class is what could be read.
func Check(params map[string]string) (c *Class, wrong, warnings []Problem) {
	c, p, warnings := parse(params)
	return c, p.list, warnings
}

func parse(params map[string]string) (c *Class, p problems, warnings []Problem) {
	c = &Class{
		Role:         params[paramRole],
		Address:      params[paramAddress],
		Namespace:    params[paramNamespace],
		AuthMethod:   cmp.Or(params[paramAuthMethod], Kubernetes),
		AuthMount:    authMount(params, &p),
		Audience:     params[paramAudience],
		TLS:          parseTLS(params, &p),
		StaleIfError: staleIfError(params, &p),
	}
	warnings = unknownParams(params)
	objects, ignored := parseObjects(params[paramObjects], &p)
	c.Objects = objects
	c.check(&p)
	return c, p, append(warnings, ignored...)
}

func (c *Class) check(p *problems) {
	switch c.AuthMethod {
	case Kubernetes, JWT:
		if c.Role == "" {
			p.addf(paramRole, "%s is missing: name the Vault role to log in with", paramRole)
		}
	case AppRole, Cert: // the credential says it
	default:
		p.addf(paramAuthMethod, "%s %q is unknown: use %s, %s, %s or %s", paramAuthMethod, clip(c.AuthMethod), Kubernetes, JWT, AppRole, Cert)
	}
	if c.Address != "" {
		if err := CheckAddress(c.Address); err != nil {
			p.addf(paramAddress, "%s: %v", paramAddress, err)
		}
	}
	if c.AuthMount != "" {
		if _, err := LoginPath(c.AuthMount); err != nil {
			p.addf(paramAuthMount, "%s: %v", paramAuthMount, err)
		}
	}
}

func authMount(params map[string]string, p *problems) string {
	mount, ok := params[paramAuthMount]
	old, okOld := params[paramAuthMountOld]
	switch {
	case ok && okOld:
		p.addf(paramAuthMountOld, "%s and %s mean the same: remove %s", paramAuthMount, paramAuthMountOld, paramAuthMountOld)
	case okOld:
		return old
	}
	return mount
}

func staleIfError(params map[string]string, p *problems) time.Duration {
	text := params[paramStaleIfError]
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		p.addf(paramStaleIfError, "%s is %q: write a duration such as \"10m\", or leave it out", paramStaleIfError, clip(text))
		return 0
	}
	return d
}

func parseTLS(params map[string]string, p *problems) TLS {
	t := TLS{
		CACert:      params[paramCACert],
		CADirectory: params[paramCADirectory],
		ServerName:  params[paramTLSServerName],
		ClientCert:  params[paramClientCert],
		ClientKey:   params[paramClientKey],
		SkipVerify:  skipVerify(params, p),
	}
	if (t.ClientCert == "") != (t.ClientKey == "") {
		p.addf(cmp.Or(given(params, paramClientCert), paramClientKey), "%s and %s belong together: give both or neither", paramClientCert, paramClientKey)
	}
	return t
}

// given is the parameter if the class has it.
func given(params map[string]string, param string) string {
	if params[param] == "" {
		return ""
	}
	return param
}

func skipVerify(params map[string]string, p *problems) *bool {
	text, ok := params[paramSkipVerify]
	if !ok {
		return nil
	}
	skip, err := strconv.ParseBool(text)
	if err != nil {
		p.addf(paramSkipVerify, "%s is %q: write \"true\" or \"false\", or leave it out", paramSkipVerify, clip(text))
		return nil
	}
	return &skip
}
