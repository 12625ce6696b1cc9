package doctor

import (
	"fmt"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	classCRD  = "secretproviderclasses." + group
	statusCRD = "secretproviderclasspodstatuses." + group
	syncedCRD = "syncedsecrets." + group
)

func crdNames() []string { return []string{classCRD, statusCRD, syncedCRD} }

// newFields are what the upstream driver's CRDs lack: what is written there is dropped.
func newFields() map[string][]string {
	return map[string][]string{
		classCRD:  {"spec.rotation.interval", "spec.rotation.mode"},
		statusCRD: {"status.conditions"},
	}
}

// crds finds those that are not there, and those that are older than this driver.
func crds(s *Snapshot) []Finding {
	const cure = "kubectl apply --server-side --force-conflicts -f manifests/base/crds"
	var all []Finding
	for _, name := range crdNames() {
		object := "customresourcedefinition " + name
		crd := s.CRDs[name]
		if crd == nil {
			if !unreadOf(s.Unread, object) {
				all = append(all, found(CRDMissing, object, "there is no such kind", cure))
			}
			continue
		}
		schema := servedSchema(crd)
		if schema == nil {
			all = append(all, found(CRDOutdated, object, "it does not serve version v1", cure))
			continue
		}
		for _, field := range newFields()[name] {
			if !hasField(schema, strings.Split(field, ".")) {
				all = append(all, found(CRDOutdated, object, "version v1 lacks the field "+field+", so what is written there is dropped", cure))
			}
		}
	}
	return all
}

// servedSchema is that of version v1, if it is served.
func servedSchema(crd *unstructured.Unstructured) map[string]any {
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	for _, v := range versions {
		version, _ := v.(map[string]any)
		if version["name"] != "v1" || version["served"] != true {
			continue
		}
		schema, _, _ := unstructured.NestedMap(version, "schema", "openAPIV3Schema")
		return schema
	}
	return nil
}

func hasField(schema map[string]any, path []string) bool {
	for _, name := range path {
		if schema["x-kubernetes-preserve-unknown-fields"] == true {
			return true
		}
		next, ok, _ := unstructured.NestedMap(schema, "properties", name)
		if !ok {
			return false
		}
		schema = next
	}
	return true
}

// rights finds those that the driver lacks, and those that it must not have.
func rights(s *Snapshot) []Finding {
	d := s.Driver()
	if d == nil {
		return nil
	}
	object := fmt.Sprintf("serviceaccount %s/%s", d.Set.Namespace, d.Account())
	var lacks, has []string
	for _, right := range needed(d.Name()) {
		if allowed, asked := s.Rights[right]; asked && !allowed {
			lacks = append(lacks, right.String())
		}
	}
	for _, right := range tooMuch() {
		if s.Rights[right] {
			has = append(has, right.String())
		}
	}
	var all []Finding
	if len(lacks) > 0 {
		all = append(all, found(RightMissing, object, "it may not "+strings.Join(lacks, ", "),
			"apply the manifests again: kubectl apply -f manifests/base/rbac.yaml holds the rights, for the namespace kube-system"))
	}
	if len(has) > 0 {
		all = append(all, found(RightTooMuch, object, "it may "+strings.Join(has, ", ")+" in all namespaces, which the driver never needs: with a token of the driver, "+
			"whoever breaks into a node may, too", "look for the binding: kubectl get clusterrolebindings -o wide | grep "+d.Account()+
			"; the manifests of the upstream driver leave such rights in secretprovidersyncing-role"))
	}
	return all
}

const policyPrefix = "secrets-store-csi-driver-"

// policies finds whether what the driver writes is held to its own node and to managed Secrets.
func policies(s *Snapshot) []Finding {
	d := s.Driver()
	if d == nil || unreadOf(s.Unread, "validatingadmissionpolicies") {
		return nil
	}
	names := []string{"podstatuses"}
	if s.Rights[filling("")[0]] {
		names = append(names, "secrets", "syncedsecrets")
	}
	var all []Finding
	for _, name := range names {
		all = append(all, s.policy(policyPrefix+name, d.User())...)
	}
	return all
}

func (s *Snapshot) policy(name, user string) []Finding {
	const cure = "apply the manifests again, those of synced Secrets included: they hold policies and bindings"
	object := "validatingadmissionpolicy " + name
	policy, ok := s.Policies[name]
	switch {
	case !ok:
		return []Finding{found(PolicyMissing, object, "there is no such policy, so a token of the driver may write objects of all nodes", cure)}
	case !s.bound(name) && !unreadOf(s.Unread, "validatingadmissionpolicybindings"):
		return []Finding{found(PolicyMissing, "validatingadmissionpolicybinding "+name, "no binding makes the policy "+name+
			" deny, so a token of the driver may write objects of all nodes", cure)}
	case !names(&policy, user):
		return []Finding{found(PolicyOfAnother, object, "its matchConditions do not name "+user+", which the driver runs as, so it holds the driver to nothing",
			"put that name into spec.matchConditions of the policy, or install the driver into the namespace that stands there")}
	}
	return nil
}

func (s *Snapshot) bound(name string) bool {
	return slices.ContainsFunc(s.Bindings, func(b admissionv1.ValidatingAdmissionPolicyBinding) bool {
		return b.Spec.PolicyName == name && slices.Contains(b.Spec.ValidationActions, admissionv1.Deny)
	})
}

// names says whether a policy is about a user: without conditions it is about all.
func names(p *admissionv1.ValidatingAdmissionPolicy, user string) bool {
	for _, c := range p.Spec.MatchConditions {
		if !strings.Contains(c.Expression, "'"+user+"'") && !strings.Contains(c.Expression, `"`+user+`"`) {
			return false
		}
	}
	return true
}
