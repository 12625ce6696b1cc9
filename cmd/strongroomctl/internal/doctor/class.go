package doctor

import (
	"fmt"
	"regexp"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/strongroom/strongroom/api/v1"
)

// classes finds those that no volume can be mounted with.
func classes(s *Snapshot) []Finding {
	var all []Finding
	for i := range s.Classes {
		c := &s.Classes[i]
		name := string(c.Spec.Provider)
		edit := fmt.Sprintf("kubectl -n %s edit secretproviderclass %s", c.Namespace, c.Name)
		switch {
		case s.leaves(c.Namespace):
		case name == "":
			all = append(all, found(ClassIncomplete, className(c), "it has no spec.provider, so its volumes cannot be mounted", edit))
		case len(c.Spec.Parameters) == 0:
			all = append(all, found(ClassIncomplete, className(c), "it has no spec.parameters, so its volumes cannot be mounted", edit))
		case !s.offered(name) && !unreadOf(s.Unread, "daemonsets"):
			all = append(all, found(ProviderMissing, className(c), fmt.Sprintf("no DaemonSet offers its provider %q at a socket where the driver looks, "+
				"and no driver has reached one", name), fmt.Sprintf("install provider %s, or correct the name: %s", name, edit)))
		}
	}
	return all
}

// fills says whether a class asks for Secrets.
func fills(c *v1.SecretProviderClass) bool {
	return slices.ContainsFunc(c.Spec.SecretObjects, func(o *v1.SecretObject) bool { return o != nil && o.SecretName != "" && o.Type != "" })
}

// filled finds classes whose Secrets the driver is not allowed to fill.
func filled(s *Snapshot) []Finding {
	d := s.Driver()
	if d == nil || unreadOf(s.Unread, rightsText) || unreadOf(s.Unread, "namespaces") {
		return nil
	}
	var all []Finding
	for i := range s.Classes {
		c := &s.Classes[i]
		if !fills(c) || s.leaves(c.Namespace) {
			continue
		}
		switch {
		case c.Namespace == "kube-system" || c.Namespace == d.Set.Namespace:
			all = append(all, found(SyncNotAllowed, className(c), "it lists secretObjects, and the driver fills no Secret in namespace "+c.Namespace,
				"move the class and its pods to another namespace, or remove its secretObjects"))
		case !s.mayFill(c.Namespace):
			all = append(all, found(SyncNotAllowed, className(c), "it lists secretObjects, and the driver has no right to fill Secrets in namespace "+c.Namespace,
				"list manifests/components/sync-secrets in your overlay; of the Helm chart, set syncSecret.enabled"))
		case !s.opted(c.Namespace):
			all = append(all, found(SyncNotAllowed, className(c), "it lists secretObjects, and namespace "+c.Namespace+" does not allow the driver to fill Secrets",
				"kubectl label namespace "+c.Namespace+" secrets-store.csi.x-k8s.io/sync=enabled"))
		}
	}
	return all
}

// mayFill says whether the driver has all rights that it needs; of those that were not asked for
// it is assumed.
func (s *Snapshot) mayFill(namespace string) bool {
	for i, everywhere := range filling("") {
		here, asked := s.Rights[filling(namespace)[i]]
		if asked && !here && !s.Rights[everywhere] {
			return false
		}
	}
	return true
}

// opted says whether a namespace allows it, by its label or in the list of the policy.
func (s *Snapshot) opted(namespace string) bool {
	if s.Namespaces[namespace].Labels["secrets-store.csi.x-k8s.io/sync"] == "enabled" {
		return true
	}
	policy, ok := s.Policies[policyPrefix+"secrets"]
	if !ok {
		return true // nothing asks for it
	}
	for _, v := range policy.Spec.Variables {
		if v.Name != "allowed" {
			continue
		}
		for _, m := range regexp.MustCompile(`['"]([^'"]*)['"]`).FindAllStringSubmatch(v.Expression, -1) {
			if m[1] == "*" || m[1] == namespace {
				return true
			}
		}
	}
	return false
}

// volumes finds those that are not kept fresh, and Secrets that are not filled, by class and cause.
func volumes(s *Snapshot) []Finding {
	type cause struct {
		id                       Word
		namespace, class, reason string
	}
	pods := map[cause][]string{}
	texts := map[cause]string{}
	var order []cause
	for i := range s.Statuses {
		status := &s.Statuses[i]
		if s.leaves(status.Namespace) || status.DeletionTimestamp != nil {
			continue
		}
		for _, c := range status.Status.Conditions {
			id := ofCondition(c)
			if id == "" {
				continue
			}
			key := cause{id, status.Namespace, status.Status.SecretProviderClassName, c.Reason}
			if pods[key] == nil {
				order = append(order, key)
			}
			pods[key] = append(pods[key], status.Status.PodName)
			texts[key] = c.Message
		}
	}
	var all []Finding
	for _, key := range order {
		text := fmt.Sprintf("%s, for the volumes of %s: %s", key.reason, listed(pods[key]), texts[key])
		all = append(all, found(key.id, "secretproviderclass "+key.namespace+"/"+key.class, text,
			fmt.Sprintf("see %s in docs/troubleshooting.md, and strongroomctl explain pod %s/%s", key.reason, key.namespace, pods[key][0])))
	}
	return all
}

func ofCondition(c metav1.Condition) Word {
	switch {
	case c.Status != metav1.ConditionFalse:
		return ""
	case c.Type == v1.ReadyCondition:
		return VolumeNotRefreshed
	case c.Type == v1.SyncedCondition:
		return SecretNotFilled
	}
	return ""
}
