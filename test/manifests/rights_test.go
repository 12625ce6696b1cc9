package manifests

import (
	"slices"
	"strings"
	"testing"

	rbac "k8s.io/api/rbac/v1"
)

// A right is one of somebody to one kind of object.
type right struct {
	who   string // "account NAMESPACE/NAME", or "people", who get it by aggregation
	verbs []string
	group string
	what  string // resource, with the subresource
	names []string
	where string // "cluster", or a namespace
}

const (
	cluster = "cluster"
	people  = "people"
	ours    = "secrets-store.csi.x-k8s.io"
)

func (r right) row() []string {
	what, names := r.what, "all"
	if r.group != "" {
		what += "." + r.group
	}
	if len(r.names) > 0 {
		names = strings.Join(r.names, " ")
	}
	return []string{r.who, what, strings.Join(r.verbs, " "), names, r.where}
}

// A binding gives a role to somebody.
type binding struct {
	role     rbac.RoleRef
	subjects []rbac.Subject
	where    string
}

func bindings(t *testing.T, all []object) []binding {
	t.Helper()
	var some []binding
	for _, b := range ofKind[rbac.ClusterRoleBinding](t, all, "ClusterRoleBinding") {
		some = append(some, binding{b.RoleRef, b.Subjects, cluster})
	}
	for _, b := range ofKind[rbac.RoleBinding](t, all, "RoleBinding") {
		some = append(some, binding{b.RoleRef, b.Subjects, b.Namespace})
	}
	return some
}

// rights are all that the objects give.
func rights(t *testing.T, all []object) []right {
	t.Helper()
	var found []right
	roles := map[string][]rbac.PolicyRule{}
	for _, r := range ofKind[rbac.ClusterRole](t, all, "ClusterRole") {
		roles["ClusterRole "+r.Name] = r.Rules
		for label, value := range r.Labels {
			if to, ok := strings.CutPrefix(label, "rbac.authorization.k8s.io/aggregate-to-"); ok && value == "true" {
				found = append(found, expand(right{who: people + " who " + to, where: cluster}, r.Rules)...)
			}
		}
	}
	for _, r := range ofKind[rbac.Role](t, all, "Role") {
		roles["Role "+r.Namespace+"/"+r.Name] = r.Rules
	}
	for _, b := range bindings(t, all) {
		key := b.role.Kind + " " + b.role.Name
		if b.role.Kind == "Role" {
			key = "Role " + b.where + "/" + b.role.Name
		}
		rules, ok := roles[key]
		if !ok {
			t.Errorf("a binding gives %s, which is not among the manifests: nobody can see what it allows", key)
		}
		for _, s := range b.subjects {
			found = append(found, expand(right{who: subject(s), where: b.where}, rules)...)
		}
	}
	return found
}

func subject(s rbac.Subject) string {
	if s.Kind == rbac.ServiceAccountKind {
		return "account " + s.Namespace + "/" + s.Name
	}
	return strings.ToLower(s.Kind) + " " + s.Name
}

func expand(of right, rules []rbac.PolicyRule) []right {
	var all []right
	for _, rule := range rules {
		of.verbs, of.names = slices.Sorted(slices.Values(rule.Verbs)), rule.ResourceNames
		for _, url := range rule.NonResourceURLs {
			of.group, of.what = "", "url "+url
			all = append(all, of)
		}
		for _, of.group = range rule.APIGroups {
			for _, of.what = range rule.Resources {
				all = append(all, of)
			}
		}
	}
	return all
}

// wrong says why nothing that runs on a node, and nobody by aggregation, may have a
// right, whatever a table in testdata says; "" if there is no reason.
func wrong(r right, in string) string {
	has := func(verbs ...string) bool {
		return slices.ContainsFunc(r.verbs, func(v string) bool { return slices.Contains(verbs, v) })
	}
	switch account, ok := strings.CutPrefix(r.who, "account "); {
	case strings.Contains(strings.Join(r.row(), " "), "*"):
		return "a * gives what nobody has looked at"
	case strings.HasPrefix(r.who, people+" who "):
		if r.group != ours {
			return "people get rights on our own kinds only"
		}
		return ""
	case !ok || !strings.HasPrefix(account, "kube-system/") || account == "kube-system/default":
		return "rights belong to service accounts of our own"
	case has("escalate", "bind", "impersonate", "approve", "sign", "attest"):
		return "with that verb one gets further rights"
	case r.what == "serviceaccounts/token" && in != "component-provider-vault-token-request":
		return "kubelet hands over the tokens of pods; with this right a node is good for the token of any service account"
	}
	return wrongObject(r, has)
}

func wrongObject(r right, has func(...string) bool) string {
	if r.what == "secrets" {
		return wrongSecret(r, has)
	}
	powerful := []string{"rbac.authorization.k8s.io", "admissionregistration.k8s.io", "certificates.k8s.io", "authentication.k8s.io", "apps", "batch", "apiextensions.k8s.io", "apiregistration.k8s.io"}
	kind, sub, _ := strings.Cut(r.what, "/")
	switch {
	case slices.Contains(powerful, r.group):
		return "who writes these owns the cluster, and a node needs to read none"
	case kind == "pods" && (sub != "" || !slices.Equal(r.verbs, []string{"get"})):
		return "a node looks pods up by name, and starts, reads and enters none"
	case slices.Contains([]string{"nodes", "services", "endpoints", "namespaces"}, kind):
		return "these lead to kubelets, to other servers, or to what a namespace allows"
	case strings.HasPrefix(r.what, "url "):
		return "no part of the driver asks the API server for pages"
	}
	return ""
}

func wrongSecret(r right, has func(...string) bool) string {
	switch {
	case has("list", "watch", "patch", "delete", "deletecollection"):
		return "list, watch and patch read Secrets, and a node deletes none"
	case has("get") && (len(r.names) == 0 || r.where == cluster):
		return "a node reads no Secret but one whose name is known, in its own namespace"
	}
	return ""
}

// Any change of a right fails, until somebody has looked at it and updates the table;
// and some rights no table can allow.
func TestRights(t *testing.T) {
	for _, c := range choices(t) {
		t.Run(c.name, func(t *testing.T) {
			found := rights(t, render(t, c))
			if len(found) == 0 {
				t.Fatal("no right was found")
			}
			var rows [][]string
			for _, r := range found {
				rows = append(rows, r.row())
				if why := wrong(r, c.name); why != "" {
					t.Errorf("%s: %s", strings.Join(r.row(), ", "), why)
				}
			}
			golden(t, "rights-"+c.name, table([]string{"WHO", "WHAT", "VERBS", "NAMES", "WHERE"}, rows))
		})
	}
}

// The rules do find what they are for.
func TestWrongRights(t *testing.T) {
	base := right{who: "account kube-system/driver", verbs: []string{"get"}, what: "pods", where: cluster}
	if why := wrong(base, "base"); why != "" {
		t.Fatal(why)
	}
	for name, change := range map[string]func(*right){
		"all verbs":             func(r *right) { r.verbs = []string{"*"} },
		"all kinds":             func(r *right) { r.what = "*" },
		"all groups":            func(r *right) { r.group = "*" },
		"all subresources":      func(r *right) { r.what = "pods/*" },
		"get of all Secrets":    func(r *right) { r.what = "secrets" },
		"get of one anywhere":   func(r *right) { r.what, r.names = "secrets", []string{"a"} },
		"get of all in one":     func(r *right) { r.what, r.where = "secrets", "kube-system" },
		"list Secrets":          func(r *right) { r.what, r.verbs, r.where = "secrets", []string{"list"}, "kube-system" },
		"watch Secrets":         func(r *right) { r.what, r.verbs = "secrets", []string{"create", "watch"} },
		"patch Secrets":         func(r *right) { r.what, r.verbs = "secrets", []string{"patch"} },
		"tokens":                func(r *right) { r.what, r.verbs = "serviceaccounts/token", []string{"create"} },
		"escalate":              func(r *right) { r.group, r.what, r.verbs = "rbac.authorization.k8s.io", "roles", []string{"escalate"} },
		"bind":                  func(r *right) { r.group, r.what, r.verbs = "rbac.authorization.k8s.io", "roles", []string{"bind"} },
		"impersonate":           func(r *right) { r.what, r.verbs = "users", []string{"impersonate"} },
		"read roles":            func(r *right) { r.group, r.what = "rbac.authorization.k8s.io", "roles" },
		"exec":                  func(r *right) { r.what, r.verbs = "pods/exec", []string{"create"} },
		"logs":                  func(r *right) { r.what = "pods/log" },
		"list pods":             func(r *right) { r.verbs = []string{"list"} },
		"kubelets":              func(r *right) { r.what = "nodes/proxy" },
		"label namespaces":      func(r *right) { r.what, r.verbs = "namespaces", []string{"patch"} },
		"pages":                 func(r *right) { r.what = "url /metrics" },
		"everybody":             func(r *right) { r.who = "group system:authenticated" },
		"somebody else":         func(r *right) { r.who = "account default/driver" },
		"who has no name":       func(r *right) { r.who = "account kube-system/default" },
		"people read Secrets":   func(r *right) { r.who, r.what = people+" who view", "secrets" },
		"people have all verbs": func(r *right) { r.who, r.group, r.verbs = people+" who edit", ours, []string{"*"} },
	} {
		bad := base
		change(&bad)
		if wrong(bad, "base") == "" {
			t.Errorf("%s: %v is allowed", name, bad.row())
		}
	}
}
