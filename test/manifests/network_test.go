package manifests

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	network "k8s.io/api/networking/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// The policies of the component are about pods that there are, and let in no port that
// these have not, and that is not for metrics or health.
func TestNetworkPolicies(t *testing.T) {
	for _, c := range choices(t) {
		all := render(t, c)
		policies := ofKind[network.NetworkPolicy](t, all, "NetworkPolicy")
		if c.name == "component-network-policy" {
			vault := render(t, choice{path: withComponent(t, "provider-vault")})
			sets := ofKind[apps.DaemonSet](t, append(all, vault...), "DaemonSet")
			if len(policies) != 2 {
				t.Errorf("%d policies, want those of driver and Vault provider", len(policies))
			}
			for _, p := range policies {
				checkPolicy(t, p, sets)
			}
		}
		golden(t, "network-"+c.name, table([]string{"FOR", "WAY", "PORTS", "WHOM"}, ways(policies)))
	}
}

func checkPolicy(t *testing.T, p network.NetworkPolicy, sets []apps.DaemonSet) {
	t.Helper()
	if !slices.Equal(p.Spec.PolicyTypes, []network.PolicyType{network.PolicyTypeIngress, network.PolicyTypeEgress}) {
		t.Errorf("%s is about %v", p.Name, p.Spec.PolicyTypes)
	}
	for _, way := range slices.Concat(ports(p.Spec.Ingress), ports(p.Spec.Egress)) {
		if way == "" {
			t.Errorf("%s opens all ports", p.Name)
		}
	}
	found := map[string][]string{} // the names of ports by that of the DaemonSet
	for _, set := range sets {
		if set.Namespace == p.Namespace && selects(t, p, set) {
			found[set.Name] = portsOf(set)
		}
	}
	if len(found) != 1 {
		t.Errorf("%s is about %v, want one DaemonSet", p.Name, found)
	}
	for set, have := range found {
		for port := range strings.FieldsSeq(strings.Join(ports(p.Spec.Ingress), " ")) {
			if !slices.Contains(have, port) {
				t.Errorf("%s lets in port %s, which %s has not: %v", p.Name, port, set, have)
			}
		}
	}
}

func selects(t *testing.T, p network.NetworkPolicy, set apps.DaemonSet) bool {
	t.Helper()
	selector, err := meta.LabelSelectorAsSelector(&p.Spec.PodSelector)
	if err != nil {
		t.Fatal(err)
	}
	return selector.Matches(labels.Set(set.Spec.Template.Labels))
}

func portsOf(set apps.DaemonSet) []string {
	var all []string
	for _, container := range set.Spec.Template.Spec.Containers {
		for _, port := range container.Ports {
			all = append(all, port.Name)
		}
	}
	return all
}

func ports[R network.NetworkPolicyIngressRule | network.NetworkPolicyEgressRule](rules []R) []string {
	var all []string
	for _, rule := range rules {
		switch r := any(rule).(type) {
		case network.NetworkPolicyIngressRule:
			all = append(all, portNames(r.Ports))
		case network.NetworkPolicyEgressRule:
			all = append(all, portNames(r.Ports))
		}
	}
	return all
}

func portNames(ports []network.NetworkPolicyPort) string {
	var all []string
	for _, p := range ports {
		all = append(all, strings.TrimSuffix(p.Port.String()+"/"+strings.ReplaceAll(shown(p.Protocol), "-", "TCP"), "/TCP"))
	}
	return strings.Join(all, " ")
}

func ways(policies []network.NetworkPolicy) [][]string {
	var rows [][]string
	for _, p := range policies {
		who := meta.FormatLabelSelector(&p.Spec.PodSelector)
		for i, r := range p.Spec.Ingress {
			rows = append(rows, []string{who, "in", ports(p.Spec.Ingress)[i], peers(r.From)})
		}
		for i, r := range p.Spec.Egress {
			rows = append(rows, []string{who, "out", ports(p.Spec.Egress)[i], peers(r.To)})
		}
	}
	return rows
}

func peers(all []network.NetworkPolicyPeer) string {
	if len(all) == 0 {
		return "all"
	}
	var some []string
	for _, p := range all {
		some = append(some, fmt.Sprintf("namespace %s, pods %s", meta.FormatLabelSelector(p.NamespaceSelector), meta.FormatLabelSelector(p.PodSelector)))
	}
	return strings.Join(some, "; ")
}
