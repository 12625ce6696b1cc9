package migrate

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/internal/vaultclass"
)

// classes tells which our providers would refuse or read otherwise.
func classes(s *Snapshot) []Change {
	var all []Change
	for i := range s.Classes {
		c := &s.Classes[i]
		object := "secretproviderclass " + c.Namespace + "/" + c.Name
		wrong, warnings := check(c)
		if len(wrong) > 0 {
			all = append(all, Change{
				"ClassRefused", object, "provider " + string(c.Spec.Provider) + " refuses it: " + strings.Join(wrong, "; "),
				"mend the class before; strongroomctl lint looks at files of classes",
			})
		}
		if len(warnings) > 0 {
			all = append(all, Change{"ClassIgnored", object, "provider " + string(c.Spec.Provider) + " ignores: " + strings.Join(warnings, "; "), ""})
		}
		if names := histories(c); len(names) > 0 {
			all = append(all, Change{
				"AzureHistory", object, "a history of N versions has the files 0 to N-1, where upstream's has one more: " + listed(names),
				"raise objectVersionHistory by one if something reads the last file",
			})
		}
	}
	return all
}

func check(c *v1.SecretProviderClass) (wrong, warnings []string) {
	switch c.Spec.Provider {
	case "vault":
		_, bad, odd := vaultclass.Check(c.Spec.Parameters)
		return texts(bad, vaultclass.Problem.String), texts(odd, vaultclass.Problem.String)
	case "azure":
		_, bad, odd := azureclass.Check(c.Spec.Parameters)
		text := func(p azureclass.Problem) string { return p.Text }
		return texts(bad, text), texts(odd, text)
	}
	return nil, nil
}

func texts[T any](problems []T, text func(T) string) []string {
	var all []string
	for _, p := range problems {
		all = append(all, text(p))
	}
	return all
}

func histories(c *v1.SecretProviderClass) []string {
	if c.Spec.Provider != "azure" {
		return nil
	}
	class, _, _ := azureclass.Check(c.Spec.Parameters)
	var names []string
	for _, o := range class.Objects {
		if o.History > 1 {
			names = append(names, o.File)
		}
	}
	return names
}

// volumes tells about those of pods that ask for something else than their class.
func volumes(s *Snapshot) []Change {
	overrides, tokens, groups := map[string][]string{}, map[string][]string{}, map[string][]string{}
	for i := range s.Pods {
		pod := &s.Pods[i]
		for _, v := range pod.Spec.Volumes {
			if v.CSI == nil || v.CSI.Driver != s.driverName() {
				continue
			}
			owner := ownerOf(pod)
			names, brings := attributes(v.CSI.VolumeAttributes)
			if len(names) > 0 {
				add(overrides, owner, "volume "+v.Name+": "+strings.Join(names, ", "))
			}
			if brings {
				add(tokens, owner, v.Name)
			}
			if c := pod.Spec.SecurityContext; c != nil && c.FSGroup != nil {
				add(groups, owner, fmt.Sprint(*c.FSGroup))
			}
		}
	}
	all := each(overrides, "AttributeOverride", "attributes of its volumes do not override parameters of the class, and are refused: ",
		"move them into a class of their own, or start the driver with --allow-attribute-overrides")
	all = append(all, each(tokens, "TokensInAttributes", "its volumes bring service account tokens in their attributes, which is refused: ",
		"remove the attribute csi.storage.k8s.io/serviceAccount.tokens: tokens come from kubelet")...)
	return append(all, each(groups, "GroupOwnsFiles", "fsGroup is honoured: files belong to the group, which may read them: ", "")...)
}

func attributes(all map[string]string) (overrides []string, tokens bool) {
	for name := range all {
		switch {
		case name == "csi.storage.k8s.io/serviceAccount.tokens":
			tokens = true
		case name != "secretProviderClass" && name != "providerName" && !strings.HasPrefix(name, "csi.storage.k8s.io/"):
			overrides = append(overrides, name)
		}
	}
	slices.Sort(overrides)
	return overrides, tokens
}

func add(to map[string][]string, owner, text string) {
	if !slices.Contains(to[owner], text) {
		to[owner] = append(to[owner], text)
	}
}

func each(found map[string][]string, id, change, do string) []Change {
	var all []Change
	for owner, what := range found {
		all = append(all, Change{id, owner, change + listed(what), do})
	}
	return all
}

// ownerOf is what people would edit: pods of one controller are told once.
func ownerOf(pod *corev1.Pod) string {
	for _, o := range pod.OwnerReferences {
		if o.Controller == nil || !*o.Controller {
			continue
		}
		name := o.Name
		if hash := pod.Labels["pod-template-hash"]; o.Kind == "ReplicaSet" && hash != "" {
			return "deployment " + pod.Namespace + "/" + strings.TrimSuffix(name, "-"+hash)
		}
		return strings.ToLower(o.Kind) + " " + pod.Namespace + "/" + name
	}
	return "pod " + pod.Namespace + "/" + pod.Name
}

const optIn = "secrets-store.csi.x-k8s.io/sync"

// namespaces tells which must allow their Secrets to be filled.
func namespaces(s *Snapshot) []Change {
	wants := map[string][]string{}
	for i := range s.Classes {
		c := &s.Classes[i]
		for _, o := range c.Spec.SecretObjects {
			if o != nil && o.SecretName != "" && o.Type != "" {
				add(wants, c.Namespace, o.SecretName)
			}
		}
	}
	var all []Change
	for name, names := range wants {
		change := "classes fill the Secrets " + listed(names)
		switch {
		case name == "kube-system":
			all = append(all, Change{"SyncNotAllowed", "namespace " + name, change + ", and this driver fills none there", "move the classes and their pods to another namespace"})
		case s.Namespaces[name].Labels[optIn] != "enabled":
			all = append(all, Change{
				"SyncOptIn", "namespace " + name, change + ", and each namespace must allow that",
				"kubectl label namespace " + name + " " + optIn + "=enabled; list manifests/components/sync-secrets, or sync-secrets-everywhere, in your overlay",
			})
		}
	}
	return all
}

// secrets tells about those that upstream filled.
func secrets(s *Snapshot) []Change {
	objects := map[string]*v1.SecretObject{}
	for i := range s.Classes {
		for _, o := range s.Classes[i].Spec.SecretObjects {
			if o != nil {
				objects[s.Classes[i].Namespace+"/"+o.SecretName] = o
			}
		}
	}
	var all []Change
	for i := range s.Secrets {
		m := &s.Secrets[i]
		name := m.Namespace + "/" + m.Name
		o := objects[name]
		if slices.ContainsFunc(m.OwnerReferences, isSynced) {
			continue // ours already
		}
		if o == nil {
			all = append(all, Change{"SecretUnclaimed", "secret " + name, "it has the label " + managed + " and no class lists it, so nobody refreshes it", ""})
			continue
		}
		all = append(all, Change{"SecretTakenOver", "secret " + name, fmt.Sprintf("its %d owners become those of a SyncedSecret of its name, which becomes its only owner", len(m.OwnerReferences)), ""})
		if lost := append(beyond(m.Labels, o.Labels), beyond(m.Annotations, o.Annotations)...); len(lost) > 0 {
			all = append(all, Change{
				"SecretMetadata", "secret " + name, "labels and annotations that its class does not list go when it is written: " + listed(lost),
				"list them in secretObjects of the class, if something needs them",
			})
		}
	}
	return all
}

// beyond are the names of what an object has and its class does not list.
func beyond(have, want map[string]string) []string {
	var names []string
	for name := range have {
		_, listed := want[name]
		if !listed && name != managed && !strings.HasPrefix(name, "secrets-store.csi.x-k8s.io/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func isSynced(o metav1.OwnerReference) bool { return o.Kind == "SyncedSecret" }
