package migrate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cluster"
)

// providerSets tells about those of upstream that we replace, and about others that stay.
func providerSets(s *Snapshot) []Change {
	var all []Change
	for i := range s.Providers {
		p := &s.Providers[i]
		object, image := setName(p.Set.Namespace, p.Set.Name), imageOf(p)
		switch {
		case strings.Contains(image, "strongroom"):
		case strings.Contains(image, "vault-csi-provider"):
			all = append(all, vaultSet(p, object, image, s)...)
		case strings.Contains(image, "provider-azure") || strings.Contains(image, "provider/azure"):
			all = append(all, azureSet(p, object, image)...)
		default:
			all = append(all, Change{"OtherProvider", object, "runs " + image + ", which works with this driver if it answers with files, as all that were released since 2021 do; " +
				"one that writes files itself is refused, and the error says so", ""})
		}
		all = append(all, folder(p, object)...)
	}
	return all
}

func imageOf(p *cluster.Provider) string {
	for _, c := range p.Set.Spec.Template.Spec.Containers {
		if c.Image != "" {
			return c.Image
		}
	}
	return "an unknown image"
}

// folder tells about sockets at other places than those where our manifests look.
func folder(p *cluster.Provider, object string) []Change {
	var others []string
	for _, dir := range p.Dirs {
		if !slices.Contains(cluster.Driver{}.ProviderDirs(), dir) {
			others = append(others, dir)
		}
	}
	switch {
	case len(others) > 0:
		return []Change{{
			"SocketFolder", object, "its socket is in " + listed(others) + ", where the manifests of this driver do not look",
			"add the folder to the DaemonSet of the driver, as a volume and in --additional-provider-volume-paths",
		}}
	case slices.Contains(p.Dirs, "/etc/kubernetes/secrets-store-csi-providers"):
		return []Change{{"SocketFolder", object, "its socket is in the old folder /etc/kubernetes/secrets-store-csi-providers, where this driver looks, too", ""}}
	}
	return nil
}

func vaultSet(p *cluster.Provider, object, image string, s *Snapshot) []Change {
	all := []Change{{
		"UpstreamVaultProvider", object, "runs " + image + ". The provider here has the same socket, flags, variables and classes; logins are shared by the pods of a service account on a node",
		fmt.Sprintf("remove it and list manifests/components/provider-vault in your overlay: kubectl -n %s delete daemonset %s", p.Set.Namespace, p.Set.Name),
	}}
	if p.Set.Namespace != "kube-system" {
		all = append(all, Change{
			"VersionKey", object, "the key of object versions is looked for in kube-system, so each version would change once",
			"copy the Secret vault-csi-provider-hmac-key from namespace " + p.Set.Namespace + " to kube-system before, as docs/migration.md tells",
		})
	}
	if s.CSIDriver != nil && !s.asksFor("vault") {
		all = append(all, Change{
			"TokenAudience", object, "tokens of pods come from kubelet, and not from the API server by a right of the provider",
			"manifests/components/provider-vault adds the audience vault to spec.tokenRequests of the CSIDriver; if classes name others, add these too",
		})
	}
	for _, c := range p.Set.Spec.Template.Spec.Containers {
		if strings.Contains(c.Name, "agent") {
			all = append(all, Change{"VaultAgent", object, "its container " + c.Name + " is not needed any more, and caches nothing for the provider", ""})
		}
		for _, e := range c.Env {
			if e.Name == "VAULT_TOKEN" {
				all = append(all, Change{"VaultToken", object, "VAULT_TOKEN is ignored: it gives all pods one identity", "remove it, or start the provider with --allow-env-token"})
			}
		}
	}
	return all
}

func (s *Snapshot) asksFor(audience string) bool {
	for _, t := range s.CSIDriver.Spec.TokenRequests {
		if t.Audience == audience {
			return true
		}
	}
	return false
}

func azureSet(p *cluster.Provider, object, image string) []Change {
	remove := fmt.Sprintf("remove it and list manifests/components/provider-azure in your overlay: kubectl -n %s delete daemonset %s", p.Set.Namespace, p.Set.Name)
	if strings.HasPrefix(p.Set.Name, "aks-") {
		remove = "switch the add-on off, which brings it back otherwise: az aks disable-addons --addons azure-keyvault-secrets-provider; then list manifests/components/provider-azure in your overlay"
	}
	return []Change{{"UpstreamAzureProvider", object, "runs " + image + ". The provider here has the same socket, flags, audiences and classes", remove}}
}
