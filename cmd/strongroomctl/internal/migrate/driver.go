package migrate

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cluster"
)

func versions(s *Snapshot) []Change {
	v, err := version.ParseGeneric(s.Version)
	if err != nil || v.AtLeast(version.MustParseGeneric("1.30")) {
		return nil
	}
	return []Change{{"KubernetesTooOld", "cluster", "it runs Kubernetes " + s.Version + ", and this driver needs 1.30 or newer", "upgrade the cluster first"}}
}

func driverSets(s *Snapshot) []Change {
	var all []Change
	for _, d := range s.Drivers {
		object := setName(d.Set.Namespace, d.Set.Name)
		if d.Set.Spec.Template.Spec.NodeSelector[corev1.LabelOSStable] == "windows" {
			all = append(all, Change{"Windows", object, "this driver does not run on Windows", "leave upstream's driver on these nodes"})
			continue
		}
		remove := fmt.Sprintf("kubectl -n %s delete daemonset %s --cascade=foreground", d.Set.Namespace, d.Set.Name)
		if d.Set.Labels["app.kubernetes.io/managed-by"] == "Helm" {
			remove = fmt.Sprintf("helm -n %s uninstall %s, which leaves the CRDs and classes where they are", d.Set.Namespace, d.Set.Annotations["meta.helm.sh/release-name"])
		}
		all = append(all, Change{
			"UpstreamDriver", object, "runs " + d.Container.Image + ". Mounted volumes are taken over, and no pod is restarted; between the two drivers no new pod with such a volume starts",
			"remove it, then apply the manifests of this driver: " + remove,
		})
		all = append(all, sidecars(d, object)...)
		all = append(all, flags(d, object)...)
		if d.Set.Namespace != "kube-system" {
			all = append(all, Change{
				"DriverNamespace", object, "the manifests of this driver install it into kube-system",
				"change the namespace in an overlay, in the matchConditions of the policies too, or remove what upstream left in " + d.Set.Namespace,
			})
		}
	}
	return all
}

func setName(namespace, name string) string { return "daemonset " + namespace + "/" + name }

func sidecars(d cluster.Driver, object string) []Change {
	var names []string
	for _, c := range d.Set.Spec.Template.Spec.Containers {
		if c.Name != d.Container.Name {
			names = append(names, c.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []Change{{"Sidecars", object, "this driver has one container and needs none of " + listed(names), ""}}
}

// flags tells which to take over, and which have no effect.
func flags(d cluster.Driver, object string) []Change {
	manifest := []string{"endpoint", "nodeid", "provider-volume", "additional-provider-volume-paths", "metrics-addr", "provider-health-check", "provider-health-check-interval"}
	var keep, dead []string
	for name, value := range d.Args {
		switch {
		case slices.Contains(manifest, name), name == "enable-secret-rotation", name == "v":
		case slices.Contains([]string{"log-format-json", "drivername", "rotation-poll-interval", "max-call-recv-msg-size", "enable-pprof", "pprof-port"}, name):
			keep = append(keep, strings.TrimSuffix("--"+name+"="+value, "="))
		default:
			dead = append(dead, "--"+name)
		}
	}
	slices.Sort(keep)
	slices.Sort(dead)
	var all []Change
	if d.Rotates() {
		all = append(all, Change{"Rotation", object, "rotation is on, which is a component of the manifests here", "list manifests/components/rotation in your overlay"})
	}
	if len(keep) > 0 {
		all = append(all, Change{"Flags", object, "these mean the same here, and the manifests do not set them: " + strings.Join(keep, " "), "add them to the DaemonSet in your overlay"})
	}
	if len(dead) > 0 {
		all = append(all, Change{"FlagsIgnored", object, "these have no effect here but a warning: " + strings.Join(dead, " "), ""})
	}
	return all
}

func csiDriver(s *Snapshot) []Change {
	if s.CSIDriver == nil || len(s.Drivers) == 0 {
		return nil
	}
	object := "csidriver " + s.CSIDriver.Name
	var all []Change
	if r := s.CSIDriver.Spec.RequiresRepublish; r == nil || !*r {
		all = append(all, Change{"Republish", object, "requiresRepublish becomes true: kubelet's repeated calls bring tokens here, and do not set the pace of rotation", ""})
	}
	var others []string
	for _, t := range s.CSIDriver.Spec.TokenRequests {
		if !slices.Contains([]string{"vault", "api://AzureADTokenExchange", "api://AKSIdentityBinding"}, t.Audience) {
			others = append(others, fmt.Sprintf("%q", t.Audience))
		}
	}
	if len(others) > 0 {
		all = append(all, Change{
			"Audiences", object, "the manifests replace spec.tokenRequests, and no component of theirs adds " + listed(others),
			"add these audiences by a patch of the CSIDriver in your overlay, as manifests/components/provider-vault does",
		})
	}
	return all
}
