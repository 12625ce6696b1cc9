package manifests

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
)

const driver = "csi-secrets-store/secrets-store"

// A container is one of a DaemonSet; there are no other workloads.
type container struct {
	core.Container

	name string // with that of the set
	pod  core.PodSpec
}

func containers(t *testing.T, all []object) []container {
	t.Helper()
	for _, o := range all {
		if slices.Contains([]string{"Deployment", "StatefulSet", "ReplicaSet", "Pod", "Job", "CronJob", "ReplicationController"}, o.kind) {
			t.Errorf("a %s is not in the tables of containers: add it", o.kind)
		}
	}
	var some []container
	for _, set := range ofKind[apps.DaemonSet](t, all, "DaemonSet") {
		pod := set.Spec.Template.Spec
		for _, c := range slices.Concat(pod.InitContainers, pod.Containers) {
			some = append(some, container{c, set.Name + "/" + c.Name, pod})
		}
	}
	return some
}

// powers are what the manifest lets a container do, one in a line.
func (c container) powers() []string {
	s := c.SecurityContext
	if s == nil {
		s = &core.SecurityContext{}
	}
	all := []string{"account " + c.pod.ServiceAccountName, "automatic token " + shown(c.pod.AutomountServiceAccountToken)}
	for name, is := range map[string]bool{"network": c.pod.HostNetwork, "pid": c.pod.HostPID, "ipc": c.pod.HostIPC} {
		if is {
			all = append(all, "namespace of the node: "+name)
		}
	}
	all = append(all, "privileged "+shown(s.Privileged), "user "+shown(s.RunAsUser)+", group "+shown(s.RunAsGroup),
		"read-only root "+shown(s.ReadOnlyRootFilesystem), "gains privileges "+shown(s.AllowPrivilegeEscalation),
		"capabilities "+capabilities(s.Capabilities), "seccomp "+c.seccomp(s))
	for _, p := range c.Ports {
		all = append(all, fmt.Sprintf("port %d %s", p.ContainerPort, p.Name))
	}
	for _, m := range c.VolumeMounts {
		all = append(all, "mount "+c.mount(m))
	}
	return all
}

// shown is a setting, or - where there is none and the default counts.
func shown[T any](p *T) string {
	if p == nil {
		return "-"
	}
	return fmt.Sprint(*p)
}

func capabilities(c *core.Capabilities) string {
	if c == nil {
		return "-"
	}
	return fmt.Sprintf("add %v drop %v", c.Add, c.Drop)
}

func (c container) seccomp(s *core.SecurityContext) string {
	profile := s.SeccompProfile
	if profile == nil && c.pod.SecurityContext != nil {
		profile = c.pod.SecurityContext.SeccompProfile
	}
	if profile == nil {
		return "-"
	}
	return string(profile.Type)
}

func (c container) mount(m core.VolumeMount) string {
	text := m.MountPath
	for _, v := range c.pod.Volumes {
		switch {
		case v.Name != m.Name:
		case v.HostPath != nil:
			text += " of the node's " + v.HostPath.Path
		case v.Projected != nil:
			text += " projected"
			for _, s := range v.Projected.Sources {
				if s.ServiceAccountToken != nil {
					text += fmt.Sprintf(", token of %s s", shown(s.ServiceAccountToken.ExpirationSeconds))
				}
			}
		case v.ConfigMap != nil:
			text += " of a ConfigMap"
		case v.EmptyDir != nil:
			text += " empty"
		case v.Secret != nil:
			text += " of a Secret"
		default:
			text += " of something else"
		}
	}
	if m.ReadOnly {
		text += ", read-only"
	}
	if m.MountPropagation != nil {
		text += ", " + string(*m.MountPropagation)
	}
	return text
}

// wrongIn is what no container may have, whatever a table says. Only the driver mounts.
func wrongIn(c container) []string {
	allowed := []string{"privileged -", "read-only root true", "gains privileges false", "capabilities add [] drop [ALL]", "seccomp RuntimeDefault"}
	if c.name == driver {
		allowed = []string{"privileged true", "read-only root true"}
	}
	var problems []string
	powers := c.powers()
	for _, a := range append(allowed, "automatic token false") {
		if !slices.Contains(powers, a) {
			problems = append(problems, "is not: "+a)
		}
	}
	for _, p := range powers {
		hostPath := strings.Contains(p, " of the node's ")
		sockets := strings.HasSuffix(p, " of the node's /var/run/secrets-store-csi-providers")
		if strings.HasPrefix(p, "namespace of the node: ") && (c.name != "csi-secrets-store-provider-azure/provider-azure" || !strings.HasSuffix(p, "network")) ||
			hostPath && !sockets && c.name != driver {
			problems = append(problems, "has: "+p)
		}
	}
	return problems
}

// What a container may do on its node is looked at before it changes.
func TestContainers(t *testing.T) {
	for _, c := range choices(t) {
		t.Run(c.name, func(t *testing.T) {
			all := containers(t, render(t, c))
			if len(all) == 0 {
				t.Fatal("no container was found")
			}
			var text strings.Builder
			for _, one := range all {
				powers := one.powers()
				slices.Sort(powers)
				text.WriteString(one.name + "\n  " + strings.Join(powers, "\n  ") + "\n")
				for _, problem := range wrongIn(one) {
					t.Errorf("%s %s", one.name, problem)
				}
			}
			golden(t, "containers-"+c.name, text.String())
		})
	}
}

// The rules do find what they are for.
func TestWrongContainers(t *testing.T) {
	yes, no := true, false
	fresh := func(set string) container {
		return container{
			name: set,
			pod: core.PodSpec{
				AutomountServiceAccountToken: &no, SecurityContext: &core.PodSecurityContext{SeccompProfile: &core.SeccompProfile{Type: core.SeccompProfileTypeRuntimeDefault}},
				Volumes: []core.Volume{{Name: "v", VolumeSource: core.VolumeSource{HostPath: &core.HostPathVolumeSource{Path: "/var/run/secrets-store-csi-providers"}}}},
			},
			Container: core.Container{
				SecurityContext: &core.SecurityContext{
					ReadOnlyRootFilesystem: &yes, AllowPrivilegeEscalation: &no, Capabilities: &core.Capabilities{Drop: []core.Capability{"ALL"}},
				},
				VolumeMounts: []core.VolumeMount{{Name: "v", MountPath: "/provider"}},
			},
		}
	}
	if problems := wrongIn(fresh("a/b")); len(problems) > 0 {
		t.Fatal(problems)
	}
	for name, change := range map[string]func(*container){
		"privileged":       func(c *container) { c.SecurityContext.Privileged = &yes },
		"writes its root":  func(c *container) { c.SecurityContext.ReadOnlyRootFilesystem = nil },
		"gains":            func(c *container) { c.SecurityContext.AllowPrivilegeEscalation = &yes },
		"a capability":     func(c *container) { c.SecurityContext.Capabilities.Add = []core.Capability{"SYS_ADMIN"} },
		"all capabilities": func(c *container) { c.SecurityContext.Capabilities = nil },
		"no seccomp":       func(c *container) { c.pod.SecurityContext = nil },
		"unconfined": func(c *container) {
			c.SecurityContext.SeccompProfile = &core.SeccompProfile{Type: core.SeccompProfileTypeUnconfined}
		},
		"nothing said":      func(c *container) { c.SecurityContext = nil },
		"automatic token":   func(c *container) { c.pod.AutomountServiceAccountToken = nil },
		"the node's pids":   func(c *container) { c.pod.HostPID = true },
		"the node's net":    func(c *container) { c.pod.HostNetwork = true },
		"folder of kubelet": func(c *container) { c.pod.Volumes[0].HostPath.Path = "/var/lib/kubelet/pods" },
	} {
		bad := fresh("a/b")
		change(&bad)
		if len(wrongIn(bad)) == 0 {
			t.Errorf("%s is allowed", name)
		}
	}
	if bad := fresh(driver); len(wrongIn(bad)) == 0 {
		t.Error("a driver that is not privileged can mount nothing, but is allowed")
	}
}
