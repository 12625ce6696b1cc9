package doctor

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/version"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cluster"
)

// drivers finds whether there is one, and one only.
func drivers(s *Snapshot) []Finding {
	var all []Finding
	if s.Driver() == nil && !unreadOf(s.Unread, "daemonsets") {
		all = append(all, found(DriverMissing, "daemonset csi-secrets-store", "no DaemonSet of the cluster runs this driver",
			"install it: kubectl apply -k manifests/overlays/vault, or the Helm chart"))
	}
	for _, d := range s.Drivers {
		if !d.Ours && d.Set.Spec.Template.Spec.NodeSelector[corev1.LabelOSStable] != "windows" { // where ours does not run
			object := fmt.Sprintf("daemonset %s/%s", d.Set.Namespace, d.Set.Name)
			all = append(all, found(UpstreamDriver, object, "runs the upstream driver, and a node cannot run two drivers of one name",
				fmt.Sprintf("kubectl -n %s delete daemonset %s --cascade=foreground, as docs/migration.md tells", d.Set.Namespace, d.Set.Name)))
		}
	}
	return all
}

// driverPods finds nodes where the driver should run and is not ready.
func driverPods(s *Snapshot) []Finding {
	d := s.Driver()
	if d == nil {
		return nil
	}
	var all []Finding
	pods := s.podsOf(&d.Set)
	for _, pod := range pods {
		if ready(pod) {
			continue
		}
		cause := orWaiting(pod, s.Unready[pod.Name])
		all = append(all, found(DriverNotReady, podObject(pod), "the driver on "+nodeOf(pod)+" is not ready: "+cause,
			fmt.Sprintf("kubectl -n %s logs %s -c %s", pod.Namespace, pod.Name, d.Container.Name)))
	}
	if want := int(d.Set.Status.DesiredNumberScheduled); len(pods) < want && !s.podsUnread(d.Set.Name) {
		object := fmt.Sprintf("daemonset %s/%s", d.Set.Namespace, d.Set.Name)
		all = append(all, found(DriverNotReady, object, fmt.Sprintf("has %d pods, and should have %d", len(pods), want),
			fmt.Sprintf("kubectl -n %s describe daemonset %s", d.Set.Namespace, d.Set.Name)))
	}
	return all
}

func (s *Snapshot) podsUnread(name string) bool {
	for _, u := range s.Unread {
		if strings.HasPrefix(u.What, "pods of daemonset ") && strings.HasSuffix(u.What, "/"+name) {
			return true
		}
	}
	return false
}

// orWaiting says why a pod is not ready: what it says itself, or why it does not run.
func orWaiting(pod *corev1.Pod, said string) string {
	if said != "" && said != "ok" {
		return said
	}
	for _, c := range pod.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil {
			return strings.TrimSuffix("container "+c.Name+" waits: "+w.Reason+" "+w.Message, " ")
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return "it has no place on a node: " + c.Message
		}
	}
	if said == "ok" {
		return "it says ok by now, so look again in ten seconds"
	}
	return "its state is " + string(pod.Status.Phase)
}

func nodeOf(pod *corev1.Pod) string {
	if pod.Spec.NodeName == "" {
		return "no node yet"
	}
	return "node " + pod.Spec.NodeName
}

func podObject(pod *corev1.Pod) string { return "pod " + pod.Namespace + "/" + pod.Name }

// registered finds nodes where the driver is ready and kubelet does not know it.
func registered(s *Snapshot) []Finding {
	d := s.Driver()
	if d == nil || unreadOf(s.Unread, "csinodes") {
		return nil
	}
	knows := map[string]bool{}
	for _, node := range s.CSINodes {
		for _, driver := range node.Spec.Drivers {
			knows[node.Name] = knows[node.Name] || driver.Name == d.Name()
		}
	}
	var all []Finding
	for _, pod := range s.podsOf(&d.Set) {
		if ready(pod) && !knows[pod.Spec.NodeName] {
			all = append(all, found(DriverNotRegistered, "csinode "+pod.Spec.NodeName, "does not list "+d.Name()+", though the driver is ready there",
				fmt.Sprintf("kubectl -n %s delete pod %s, which registers anew; if that does not help, look at the log of kubelet", pod.Namespace, pod.Name)))
		}
	}
	return all
}

// providerPods finds providers that are not ready.
func providerPods(s *Snapshot) []Finding {
	var all []Finding
	for i := range s.Providers {
		p := &s.Providers[i]
		for _, pod := range s.podsOf(&p.Set) {
			if !ready(pod) {
				cause := "provider " + p.Set.Name + " on " + nodeOf(pod) + " is not ready: " + orWaiting(pod, "")
				all = append(all, found(ProviderNotReady, podObject(pod), cause, fmt.Sprintf("kubectl -n %s logs %s --all-containers", pod.Namespace, pod.Name)))
			}
		}
	}
	return all
}

// The oldest kubelets: those whose nodes' tokens name the node, and those that hand over tokens
// beside the volume context.
const (
	oldest        = "1.30"
	tokensBesides = "1.35"
)

// kubelets finds those that are too old, on nodes where the driver should run.
func kubelets(s *Snapshot) []Finding {
	var all []Finding
	for _, node := range s.Nodes {
		have := node.Status.NodeInfo.KubeletVersion
		object := "node " + node.Name
		switch {
		case node.Labels[corev1.LabelOSStable] == "windows" || have == "":
		case older(have, oldest):
			all = append(all, found(KubeletTooOld, object, "its kubelet is "+have+", and the driver needs "+oldest+" or newer",
				"upgrade the node, or keep pods with such volumes away from it"))
		case older(have, tokensBesides) && tokensInSecrets(s):
			all = append(all, found(TokensInSecrets, object, "its kubelet is "+have+" and hands tokens over in the volume context, where the driver "+
				"does not take them from, because the CSIDriver has serviceAccountTokenInSecrets: true",
				"upgrade the node to "+tokensBesides+", or leave out manifests/components/token-in-secrets until all nodes are: kubectl patch csidriver "+
					s.CSIDriver.Name+` -p '{"spec":{"serviceAccountTokenInSecrets":false}}'`))
		}
	}
	return all
}

func tokensInSecrets(s *Snapshot) bool {
	return s.CSIDriver != nil && isTrue(s.CSIDriver.Spec.ServiceAccountTokenInSecrets)
}

func isTrue(b *bool) bool { return b != nil && *b }

// older compares versions such as v1.35.1-eks-1234.
func older(have, than string) bool {
	v, err := version.ParseGeneric(have)
	return err == nil && v.LessThan(version.MustParseGeneric(than))
}

// offered says whether somebody is there who offers a provider.
func (s *Snapshot) offered(name string) bool {
	for _, p := range s.Providers {
		if p.Offers(name) {
			return true
		}
	}
	return s.Up[name]
}

// offering is the DaemonSet that offers a provider, or nil.
func (s *Snapshot) offering(name string) *cluster.Provider {
	for i := range s.Providers {
		if s.Providers[i].Offers(name) {
			return &s.Providers[i]
		}
	}
	return nil
}
