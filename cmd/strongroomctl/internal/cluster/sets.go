package cluster

import (
	"path"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
)

// DriverName is the name of the driver, unless --drivername says another one.
const DriverName = "secrets-store.csi.k8s.io"

// Driver is a DaemonSet that runs this driver or the upstream one.
type Driver struct {
	Set       appsv1.DaemonSet
	Container corev1.Container
	Args      map[string]string
	Ours      bool
}

// Name is that of the CSIDriver object.
func (d Driver) Name() string {
	if name := d.Args["drivername"]; name != "" {
		return name
	}
	return DriverName
}

// Account is the service account that the driver runs as.
func (d Driver) Account() string {
	if name := d.Set.Spec.Template.Spec.ServiceAccountName; name != "" {
		return name
	}
	return "default"
}

// User is how the API server calls that account.
func (d Driver) User() string { return "system:serviceaccount:" + d.Set.Namespace + ":" + d.Account() }

// Rotates says whether volumes are refreshed.
func (d Driver) Rotates() bool {
	value, ok := d.Args["enable-secret-rotation"]
	return ok && value != "false"
}

// Interval is the time between two refreshes where a class does not say another.
func (d Driver) Interval() string {
	if interval := d.Args["rotation-poll-interval"]; interval != "" {
		return interval
	}
	return "2m"
}

// ProviderDirs are the folders of the node that sockets of providers are in.
func (d Driver) ProviderDirs() []string {
	dirs := []string{"/var/run/secrets-store-csi-providers", "/etc/kubernetes/secrets-store-csi-providers"}
	for _, flag := range []string{"provider-volume", "additional-provider-volume-paths"} {
		for dir := range strings.SplitSeq(d.Args[flag], ",") {
			if dir != "" && !slices.Contains(dirs, dir) {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs
}

// Port is the number of a port by the flag that sets it, ":9808" for instance.
func (d Driver) Port(flag, fallback string) string {
	value, ok := d.Args[flag]
	if !ok {
		return fallback
	}
	return value[strings.LastIndex(value, ":")+1:]
}

// Drivers finds the drivers among all DaemonSets of a cluster.
func Drivers(sets []appsv1.DaemonSet) []Driver {
	var found []Driver
	for _, set := range sets {
		for _, c := range set.Spec.Template.Spec.Containers {
			args := flags(c)
			_, node := args["nodeid"]
			_, volume := args["provider-volume"]
			if node && (volume || c.Name == "secrets-store") {
				found = append(found, Driver{Set: set, Container: c, Args: args, Ours: isOurs(c, args)})
			}
		}
	}
	return found
}

// isOurs goes by flags that the upstream driver does not have, because images get other names.
func isOurs(c corev1.Container, args map[string]string) bool {
	for _, flag := range []string{"registration-dir", "health-addr", "kubelet-registration-path", "max-node-bytes", "max-volume-bytes"} {
		if _, ok := args[flag]; ok {
			return true
		}
	}
	return strings.Contains(c.Image, "strongroom")
}

// flags reads the command line of a container.
func flags(c corev1.Container) map[string]string {
	all := map[string]string{}
	words := slices.Concat(c.Command, c.Args)
	for i, word := range words {
		if !strings.HasPrefix(word, "-") {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimLeft(word, "-"), "=")
		if !ok && i+1 < len(words) && !strings.HasPrefix(words[i+1], "-") {
			value = words[i+1]
		}
		all[name] = value
	}
	return all
}

// Provider is a DaemonSet whose socket a driver looks for.
type Provider struct {
	Set     appsv1.DaemonSet
	Sockets []string // names of providers, as far as the command line tells
	Args    map[string]string
	Dirs    []string // folders of the node that it uses, of those that a driver looks into
}

// Offers says whether it is the provider of that name, as far as one can see.
func (p Provider) Offers(name string) bool {
	if len(p.Sockets) > 0 {
		return slices.Contains(p.Sockets, name)
	}
	if strings.Contains(p.Set.Name, name) {
		return true
	}
	for _, c := range p.Set.Spec.Template.Spec.Containers {
		if strings.Contains(c.Image, name) || strings.Contains(c.Name, name) {
			return true
		}
	}
	return false
}

// Providers finds those DaemonSets that use a folder of sockets and are no driver.
func Providers(sets []appsv1.DaemonSet, dirs []string) []Provider {
	var found []Provider
	for _, set := range sets {
		p := Provider{Set: set, Args: map[string]string{}}
		for _, v := range set.Spec.Template.Spec.Volumes {
			if v.HostPath != nil && slices.Contains(dirs, path.Clean(v.HostPath.Path)) {
				p.Dirs = append(p.Dirs, path.Clean(v.HostPath.Path))
			}
		}
		if len(p.Dirs) == 0 || len(Drivers([]appsv1.DaemonSet{set})) > 0 {
			continue
		}
		for _, c := range set.Spec.Template.Spec.Containers {
			for name, value := range flags(c) {
				p.Args[name] = value
				if socket, ok := strings.CutSuffix(path.Base(value), ".sock"); ok && name == "endpoint" {
					p.Sockets = append(p.Sockets, socket)
				}
			}
		}
		found = append(found, p)
	}
	return found
}
