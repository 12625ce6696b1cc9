package grants

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/internal/vaultclass"
)

// vaultIdentity is what one login gives a token for.
type vaultIdentity struct {
	address, namespace, method, mount, role, audience string
}

// vaultNeeds is what the classes of an identity ask for.
type vaultNeeds struct {
	classes []string
	// paths are capabilities by path of the policy.
	paths map[string][]string
	notes []string
}

// vaultIdentities are the needs of each.
type vaultIdentities map[vaultIdentity]*vaultNeeds

func (v vaultIdentities) add(name string, class *v1.SecretProviderClass) error {
	c, err := vaultclass.Parse(class.Spec.Parameters)
	if err != nil {
		return err
	}
	id := vaultIdentity{
		address: c.Address, namespace: c.Namespace, method: c.AuthMethod, role: c.Role,
		mount: cmp.Or(strings.Trim(path.Clean("/"+c.AuthMount), "/"), c.AuthMethod),
	}
	if id.method == vaultclass.Kubernetes || id.method == vaultclass.JWT {
		id.audience = cmp.Or(c.Audience, "vault")
	}
	if v[id] == nil {
		v[id] = &vaultNeeds{paths: map[string][]string{}}
	}
	v[id].classes = append(v[id].classes, name)
	for i := range c.Objects {
		v[id].object(&c.Objects[i])
	}
	return nil
}

// object notes what one object needs.
func (n *vaultNeeds) object(o *vaultclass.Object) {
	at := strings.TrimPrefix(o.Read.Path, "/v1/")
	if strings.HasSuffix(at, "*") || slices.Contains(strings.Split(at, "/"), "+") {
		n.note("the policy means more than %s: a * at the end and a + between slashes stand for any text there", at)
	}
	needed := capabilities(o.Read.Method)
	if needed == nil {
		n.note("object %s asks with %s, for which nothing is granted here: add what it needs to the policy", o.Name, o.Read.Method)
		return
	}
	n.paths[at] = union(n.paths[at], needed)
}

func (n *vaultNeeds) note(format string, args ...any) {
	n.notes = append(n.notes, oneLine(fmt.Sprintf(format, args...)))
}

// capabilities are what Vault asks for; nil for methods that no mount needs.
func capabilities(method string) []string {
	switch method {
	case "GET", "HEAD":
		return []string{"read"}
	case "PUT", "POST":
		// Which of both depends on whether the engine can tell if there is something already.
		return []string{"create", "update"}
	case "PATCH":
		return []string{"patch"}
	}
	return nil
}

func union(a, b []string) []string {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return slices.Compact(all)
}

// policy is the text of the policy.
func (n *vaultNeeds) policy() string {
	var out strings.Builder
	for _, at := range slices.Sorted(maps.Keys(n.paths)) {
		quoted := make([]string, len(n.paths[at]))
		for i, c := range n.paths[at] {
			quoted[i] = fmt.Sprintf("%q", c)
		}
		fmt.Fprintf(&out, "path %s {\n  capabilities = [%s]\n}\n", hcl(at), strings.Join(quoted, ", "))
	}
	if leases := n.leases(); len(leases) > 0 {
		out.WriteString("# So that what was made for a pod is gone with the pod.\n")
		fmt.Fprintf(&out, "path \"sys/leases/revoke\" {\n  capabilities = [\"update\"]\n  allowed_parameters = {\n    \"lease_id\" = [%s]\n  }\n}\n",
			strings.Join(leases, ", "))
	}
	return out.String()
}

// leases are patterns of the leases that engines make for a pod.
func (n *vaultNeeds) leases() (patterns []string) {
	for _, at := range slices.Sorted(maps.Keys(n.paths)) {
		if strings.Contains(at, "/creds/") || strings.Contains(at, "/sts/") {
			patterns = append(patterns, hcl(at+"/*"))
		}
	}
	return patterns
}

// hcl writes a text for Vault's language.
func hcl(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`).Replace(text) + `"`
}

// grants are in the order of their roles.
func (v vaultIdentities) grants(opts options) []Grant {
	ids := slices.SortedFunc(maps.Keys(v), func(a, b vaultIdentity) int {
		return cmp.Or(cmp.Compare(a.address, b.address), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.mount, b.mount),
			cmp.Compare(a.role, b.role), cmp.Compare(a.method, b.method), cmp.Compare(a.audience, b.audience))
	})
	all := []Grant{}
	taken := map[[3]string]bool{} // addresses, namespaces and names of policies
	for _, id := range ids {
		name := cmp.Or(opts.name, opts.account.namespace+"-"+opts.account.name)
		if len(ids) > 1 {
			name += "-" + cmp.Or(id.role, id.method)
		}
		for more := "-" + strings.ReplaceAll(id.mount, "/", "-"); taken[[3]string{id.address, id.namespace, name}]; more = "-" + id.method {
			name += more
		}
		taken[[3]string{id.address, id.namespace, name}] = true
		all = append(all, id.grant(v[id], opts.account, name))
	}
	return all
}

// conflicts are roles that cannot be what all classes want: a role has one audience.
func (v vaultIdentities) conflicts() error {
	var wrong []error
	seen := map[vaultIdentity]vaultIdentity{}
	for _, id := range slices.SortedFunc(maps.Keys(v), func(a, b vaultIdentity) int { return cmp.Compare(a.audience, b.audience) }) {
		role := id
		role.audience = ""
		if other, ok := seen[role]; ok {
			wrong = append(wrong, fmt.Errorf("role %q at auth/%s is used with the audiences %q (by %s) and %q (by %s), and a role has one: "+
				"set the same audience in these classes, or name another role in some", id.role, id.mount,
				other.audience, strings.Join(v[other].classes, ", "), id.audience, strings.Join(v[id].classes, ", ")))
		}
		seen[role] = id
	}
	return errors.Join(wrong...)
}

func (id *vaultIdentity) grant(n *vaultNeeds, sa account, name string) Grant {
	g := Grant{Store: "Vault", Classes: n.classes, Policy: n.policy(), Notes: n.notes}
	if id.address != "" {
		g.Store += " at " + oneLine(id.address)
	}
	g.Commands = append(g.Commands, id.vault("policy", "write", quote(name), "-")+" <<'END'\n"+g.Policy+"END")
	role, note := id.login(sa, name)
	if note != "" {
		g.Notes = append(g.Notes, note)
	}
	g.Commands = append(g.Commands, role)
	return g
}

// vault begins a command.
func (id *vaultIdentity) vault(verb, what string, rest ...string) string {
	words := []string{"vault", verb}
	if verb == "policy" {
		words = append(words, what)
	}
	if id.namespace != "" {
		words = append(words, "-namespace="+quote(id.namespace))
	}
	if verb != "policy" {
		words = append(words, what)
	}
	return command(append(words, rest...)...)
}

const replaces = "The role is written anew: if other service accounts use it, list them, too, with commas."

// login is the role that gives the policy, and what a person has to know.
func (id *vaultIdentity) login(sa account, policy string) (role, note string) {
	token := []string{"token_policies=" + quote(policy), "token_ttl=20m"}
	at := func(kind, name string) string { return quote("auth/" + id.mount + "/" + kind + "/" + name) }
	switch id.method {
	case vaultclass.JWT:
		return id.vault("write", at("role", id.role), append([]string{
			"role_type=jwt", "bound_audiences=" + literal(id.audience), "user_claim=sub",
			"bound_subject=" + quote("system:serviceaccount:"+sa.namespace+":"+sa.name),
		}, token...)...), "The role is written anew, for this service account alone."
	case vaultclass.AppRole:
		return id.vault("write", at("role", policy), token...),
			"The pod's volume names a Secret in nodePublishSecretRef with role_id and secret_id of the role; see docs/providers/vault.md."
	case vaultclass.Cert:
		return id.vault("write", at("certs", cmp.Or(id.role, policy)), append([]string{
			"certificate=@CA.pem", "allowed_common_names=COMMON_NAME",
		}, token...)...), "Replace CA.pem and COMMON_NAME by the issuer and the name of the certificate in the Secret that the pod's volume names."
	}
	return id.vault("write", at("role", id.role), append([]string{
		"bound_service_account_names=" + quote(sa.name), "bound_service_account_namespaces=" + quote(sa.namespace),
		"audience=" + literal(id.audience),
	}, token...)...), replaces
}
