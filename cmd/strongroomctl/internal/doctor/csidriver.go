package doctor

import (
	"fmt"
	"slices"
	"strings"

	storagev1 "k8s.io/api/storage/v1"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cluster"
)

// csiDriver finds what the object lacks that tells kubelet how to call the driver.
func csiDriver(s *Snapshot) []Finding {
	if s.CSIDriver == nil {
		return noCSIDriver(s)
	}
	spec, object := s.CSIDriver.Spec, "csidriver "+s.CSIDriver.Name
	patch := "kubectl patch csidriver " + s.CSIDriver.Name
	again := "the field cannot be changed: kubectl delete csidriver " + s.CSIDriver.Name + ", and apply the manifests again; mounted volumes stay"
	var all []Finding
	if !isTrue(spec.PodInfoOnMount) {
		all = append(all, found(CSIDriverField, object, "podInfoOnMount is not true, so kubelet does not say which pod a volume is for, and each mount is refused",
			patch+` -p '{"spec":{"podInfoOnMount":true}}'`))
	}
	if !isTrue(spec.RequiresRepublish) {
		all = append(all, found(CSIDriverField, object, "requiresRepublish is not true, so kubelet brings no fresh tokens and announces no mounted volumes to a restarted driver",
			patch+` -p '{"spec":{"requiresRepublish":true}}'`))
	}
	if spec.AttachRequired == nil || *spec.AttachRequired {
		all = append(all, found(CSIDriverField, object, "attachRequired is not false, so pods wait for a volume attachment that nobody makes", again))
	}
	if !slices.Contains(spec.VolumeLifecycleModes, storagev1.VolumeLifecycleEphemeral) {
		all = append(all, found(CSIDriverField, object, "volumeLifecycleModes lacks Ephemeral, so kubelet mounts no volume that a pod describes itself", again))
	}
	return all
}

func noCSIDriver(s *Snapshot) []Finding {
	d := s.Driver()
	if d == nil || unreadOf(s.Unread, "csidriver "+d.Name()) {
		return nil
	}
	return []Finding{found(CSIDriverMissing, "csidriver "+d.Name(), "there is no such object, so kubelet mounts no volume of this driver",
		"apply the manifests again: they hold it (manifests/base/csidriver.yaml); with another --drivername, name it so there")}
}

// need is an audience and who needs it.
type need struct{ audience, who string }

// audiences finds those that a provider or a class needs and kubelet is not told to ask for.
func audiences(s *Snapshot) []Finding {
	if s.CSIDriver == nil {
		return nil
	}
	whose := map[string][]string{}
	var order []string
	for _, n := range s.needs() {
		if slices.ContainsFunc(s.CSIDriver.Spec.TokenRequests, func(r storagev1.TokenRequest) bool { return r.Audience == n.audience }) {
			continue
		}
		if whose[n.audience] == nil {
			order = append(order, n.audience)
		}
		whose[n.audience] = append(whose[n.audience], n.who)
	}
	var all []Finding
	for _, audience := range order {
		all = append(all, found(AudienceMissing, "csidriver "+s.CSIDriver.Name,
			fmt.Sprintf("spec.tokenRequests lacks the audience %q, which is needed by %s", audience, listed(whose[audience])), addAudience(s.CSIDriver, audience)))
	}
	return all
}

func addAudience(d *storagev1.CSIDriver, audience string) string {
	op, value := "/spec/tokenRequests/-", fmt.Sprintf(`{"audience":%q}`, audience)
	if d.Spec.TokenRequests == nil {
		op, value = "/spec/tokenRequests", "["+value+"]"
	}
	return fmt.Sprintf(`kubectl patch csidriver %s --type=json -p '[{"op":"add","path":%q,"value":%s}]'`, d.Name, op, value)
}

// listed names the first ones.
func listed(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// needs are the audiences that the providers of this project ask for, and classes of theirs.
func (s *Snapshot) needs() []need {
	var all []need
	vault := s.offering("vault")
	if vault != nil && asksItself(vault) {
		vault = nil
	}
	if vault != nil {
		all = append(all, need{"vault", "provider " + vault.Set.Name})
	}
	if azure := s.offering("azure"); azure != nil {
		all = append(all, need{azureAudience, "provider " + azure.Set.Name})
	}
	for i := range s.Classes {
		c := &s.Classes[i]
		if s.leaves(c.Namespace) {
			continue
		}
		if audience := classAudience(c, vault != nil); audience != "" && s.offered(string(c.Spec.Provider)) {
			all = append(all, need{audience, className(c)})
		}
	}
	return all
}

const azureAudience = "api://AzureADTokenExchange"

func classAudience(c *v1.SecretProviderClass, vault bool) string {
	switch {
	case c.Spec.Provider == "vault" && vault:
		return c.Spec.Parameters["audience"]
	case c.Spec.Provider == "azure" && c.Spec.Parameters["useAzureTokenProxy"] == "true":
		return "api://AKSIdentityBinding"
	}
	return ""
}

// asksItself says whether a provider asks the API server for tokens that kubelet did not bring.
// Those of others for Vault always do.
func asksItself(p *cluster.Provider) bool {
	for _, c := range p.Set.Spec.Template.Spec.Containers {
		if !strings.Contains(c.Image, "strongroom") && (strings.Contains(c.Image, "vault-csi-provider") || strings.Contains(c.Image, "openbao-csi-provider")) {
			return true
		}
	}
	value, ok := p.Args["allow-token-request"]
	return ok && value != "false"
}

func className(c *v1.SecretProviderClass) string {
	return "secretproviderclass " + c.Namespace + "/" + c.Name
}

// leaves says whether a namespace is about to go: what is in it does not matter any more.
func (s *Snapshot) leaves(namespace string) bool {
	return s.Namespaces[namespace].DeletionTimestamp != nil
}
