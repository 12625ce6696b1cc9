package azureclass

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The parameters of a class. Their case matters, white space around a value does not.
const (
	paramVault        = "keyvaultName"
	paramTenant       = "tenantID"
	paramTenantOld    = "tenantId"
	paramObjects      = "objects"
	paramCloud        = "cloudName"
	paramCloudFile    = "cloudEnvFileName"
	paramPodIdentity  = "usePodIdentity"
	paramVMIdentity   = "useVMManagedIdentity"
	paramTokenProxy   = "useAzureTokenProxy"
	paramUserAssigned = "userAssignedIdentityID"
	paramClientID     = "clientID"
	paramStaleIfError = "staleIfError"
)

// Mode is how the provider proves to Azure who a pod is.
type Mode string

// The modes, as errors name them.
const (
	ServicePrincipal Mode = "ServicePrincipal" // with a secret from nodePublishSecretRef
	WorkloadIdentity Mode = "WorkloadIdentity" // with the pod's token
	VMIdentity       Mode = "VMManagedIdentity"
	PodIdentity      Mode = "PodIdentity"
	TokenProxy       Mode = "AzureTokenProxy"
)

// Class is a parsed class.
type Class struct {
	// Vault is the name of the Key Vault, the first label of its host name.
	Vault  string
	Tenant string
	// Cloud is the name of the cloud, "" for the provider's; CloudFile is the path of the
	// definition of a custom one.
	Cloud, CloudFile string
	Mode             Mode
	// ClientID is that of the application or identity; what it means depends on Mode.
	ClientID string
	// StaleIfError is how old a value may be that a new pod gets while Azure does not
	// answer; 0 for none.
	StaleIfError time.Duration
	// Objects is never empty once ParseObjects has succeeded.
	Objects []Object
	// Warnings say what was ignored although its author may not expect that.
	Warnings []string

	objects string
}

// Parse reads all parameters but the objects, which [Class.ParseObjects] does: whether
// a pod can log in is judged in between. The first thing that is wrong is the error.
// (azure-contract 2, 4.7)
func Parse(params map[string]string) (*Class, error) {
	c := read(params)
	if err := c.parseMode(getter(params)); err != nil {
		return nil, err
	}
	if err := c.checkNeeded(); err != nil {
		return nil, err
	}
	return c, c.parseStaleIfError(getter(params)(paramStaleIfError))
}

func getter(params map[string]string) func(string) string {
	return func(name string) string { return strings.TrimSpace(params[name]) }
}

// read takes what needs no judgement.
func read(params map[string]string) *Class {
	get := getter(params)
	c := &Class{
		Vault: get(paramVault), Tenant: get(paramTenant), Cloud: get(paramCloud), CloudFile: get(paramCloudFile),
		Warnings: unknownParams(params), objects: params[paramObjects],
	}
	if c.Tenant == "" {
		c.Tenant = get(paramTenantOld)
	}
	return c
}

func (c *Class) checkNeeded() error {
	switch {
	case c.Vault == "":
		return ofParam(paramVault, fmt.Errorf("%s is not set: name the Key Vault", paramVault))
	case c.Tenant == "":
		// Operators look for the old spelling.
		return ofParam(paramTenant, fmt.Errorf("%s is not set: give the tenant of the Key Vault in %s", paramTenantOld, paramTenant))
	}
	return nil
}

// CheckLogin says whether what the mode needs is there. It comes after the cloud.
func (c *Class) CheckLogin() error {
	if c.Mode == TokenProxy && c.ClientID == "" {
		return ofParam(paramTokenProxy, fmt.Errorf("%s: %s needs %s: name the client id of the identity", c.Mode, paramTokenProxy, paramClientID))
	}
	return nil
}

func (c *Class) parseMode(get func(string) string) error {
	modes := []struct {
		param string
		mode  Mode
	}{{paramPodIdentity, PodIdentity}, {paramVMIdentity, VMIdentity}, {paramTokenProxy, TokenProxy}}
	var chosen []string
	for _, m := range modes {
		on, err := parseBool(m.param, get(m.param))
		if err != nil {
			return err
		}
		if on {
			chosen, c.Mode = append(chosen, m.param), m.mode
		}
	}
	if len(chosen) > 1 {
		return ofParam(chosen[1], fmt.Errorf("only one identity mode can be used: %s are all true", strings.Join(chosen, ", ")))
	}
	c.ClientID = get(paramClientID)
	switch {
	case c.Mode == VMIdentity:
		c.ClientID = get(paramUserAssigned)
	case c.Mode == PodIdentity:
		c.ClientID = ""
	case c.Mode == "" && c.ClientID != "":
		c.Mode = WorkloadIdentity
	case c.Mode == "":
		c.Mode = ServicePrincipal
	}
	return nil
}

func parseBool(param, text string) (bool, error) {
	if text == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, ofParam(param, fmt.Errorf("failed to parse %s: %q is not \"true\" or \"false\"", param, clip(text)))
	}
	return on, nil
}

func (c *Class) parseStaleIfError(text string) (err error) {
	if text == "" {
		return nil
	}
	if c.StaleIfError, err = time.ParseDuration(text); err != nil || c.StaleIfError < 0 {
		return ofParam(paramStaleIfError, fmt.Errorf("failed to parse %s: %q is not a duration such as \"10m\"", paramStaleIfError, clip(text)))
	}
	return nil
}

// CheckVault says whether the name of the Key Vault can be one. It comes last, as
// users of the existing provider know it.
func (c *Class) CheckVault() error {
	const least, most = 3, 24
	if len(c.Vault) < least || len(c.Vault) > most {
		return ofParam(paramVault, fmt.Errorf("failed to get vault: %s %q must have %d to %d characters", paramVault, clip(c.Vault), least, most))
	}
	if strings.ContainsFunc(c.Vault, notInVaultName) {
		return ofParam(paramVault, fmt.Errorf("failed to get vault: %s %q must consist of letters, digits and hyphens", paramVault, clip(c.Vault)))
	}
	return nil
}

func notInVaultName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
}
