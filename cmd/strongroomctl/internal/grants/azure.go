package grants

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/internal/azureclass"
)

// assignment is a role at a part of a Key Vault. At a certificate or a key, Certificate User
// reads these and nothing else; Crypto User could also sign and decrypt with the key.
type assignment struct{ role, part string }

func assignments(objects []azureclass.Object, perVault bool) (all []assignment) {
	for i := range objects {
		o := &objects[i]
		a := map[string]assignment{
			azureclass.Secret: {"Key Vault Secrets User", "/secrets/" + o.Name},
			azureclass.Cert:   {"Key Vault Certificate User", "/certificates/" + o.Name},
			azureclass.Key:    {"Key Vault Certificate User", "/keys/" + o.Name},
		}[o.Type]
		if perVault {
			a.part = ""
			if o.Type == azureclass.Key {
				a.role = "Key Vault Crypto User"
			}
		}
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return all
}

func azure(class *v1.SecretProviderClass, opts options) (Grant, error) {
	c, err := azureclass.Parse(class.Spec.Parameters)
	if err == nil {
		err = c.ParseObjects()
	}
	if err == nil {
		err = errors.Join(azureclass.CheckCloud(c.Cloud), c.CheckLogin())
	}
	if err == nil {
		err = c.CheckVault()
	}
	if err != nil {
		return Grant{}, err
	}
	g := Grant{Store: "Azure Key Vault " + c.Vault}
	g.note("The commands follow Azure's documentation; they were not run against Azure.")
	if c.Cloud != "" {
		g.note("The vault is in " + oneLine(c.Cloud) + ": see az cloud set.")
	}
	g.principal(c)
	g.run("SCOPE=$(az keyvault show --name " + quote(c.Vault) + " --query id --output tsv)")
	for _, a := range assignments(c.Objects, opts.perVault) {
		g.run("az role assignment create", "--role '"+a.role+"'", `--scope "$SCOPE"`+quoteIf(a.part),
			`--assignee-object-id "$PRINCIPAL"`, "--assignee-principal-type ServicePrincipal")
	}
	if c.Mode == azureclass.WorkloadIdentity {
		g.federate(c, opts.account)
	}
	if c.Mode == azureclass.TokenProxy {
		g.note("Bind the identity to the cluster, too: see AKS identity binding in docs/providers/azure.md.")
	}
	return g, nil
}

func quoteIf(text string) string {
	if text == "" {
		return ""
	}
	return quote(text)
}

func (g *Grant) note(text string) { g.Notes = append(g.Notes, text) }

func (g *Grant) run(words ...string) { g.Commands = append(g.Commands, command(words...)) }

// principal finds whom the roles are for.
func (g *Grant) principal(c *azureclass.Class) {
	client := c.ClientID
	switch {
	case c.Mode == azureclass.ServicePrincipal:
		g.note("Replace APP_ID by clientid of the Secret that the pod's volume names in nodePublishSecretRef.")
		client = "APP_ID"
	case c.Mode == azureclass.PodIdentity:
		g.note("Azure has retired AAD pod identity: use workload identity. Replace IDENTITY by the client id of the AzureIdentity.")
		client = "IDENTITY"
	case c.Mode == azureclass.VMIdentity && client == "":
		g.note("Replace GROUP and SCALE_SET by those of the nodes, which have one identity for all pods: prefer workload identity.")
		g.run("PRINCIPAL=$(az vmss show --resource-group GROUP --name SCALE_SET --query identity.principalId --output tsv)")
		return
	}
	g.run("PRINCIPAL=$(az ad sp show --id " + quote(client) + " --query id --output tsv)")
}

// federate has the identity trust tokens of the service account.
func (g *Grant) federate(c *azureclass.Class, sa account) {
	g.note("The identity is taken to be a managed one; for an app registration see docs/providers/azure.md.")
	find := func(field string) string {
		query := fmt.Sprintf("[?clientId=='%s'].%s", strings.ReplaceAll(c.ClientID, "'", ""), field)
		return `$(az identity list --query "` + shellInQuotes(query) + `" --output tsv)`
	}
	g.run("GROUP=" + find("resourceGroup"))
	g.run("IDENTITY=" + find("name"))
	g.run("ISSUER=$(kubectl get --raw /.well-known/openid-configuration | jq -r .issuer)")
	g.run(`az identity federated-credential create --resource-group "$GROUP" --identity-name "$IDENTITY"`,
		"--name "+quote(sa.namespace+"-"+sa.name), `--issuer "$ISSUER"`,
		"--subject "+quote("system:serviceaccount:"+sa.namespace+":"+sa.name), "--audiences api://AzureADTokenExchange")
}

// shellInQuotes makes a text safe between double quotes.
func shellInQuotes(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`, "`", "\\`").Replace(text)
}
