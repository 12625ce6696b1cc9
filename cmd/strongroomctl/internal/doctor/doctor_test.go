package doctor_test

import (
	"bytes"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cluster"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/doctor"
)

const manifests = "../../../../manifests/"

// read is the objects of a kind in the manifests that are installed.
func read[T any](t *testing.T, file, kind string) []T {
	t.Helper()
	data, err := os.ReadFile(manifests + file)
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	for doc := range strings.SplitSeq(string(data), "\n---\n") {
		if !strings.Contains("\n"+doc, "\nkind: "+kind+"\n") {
			continue
		}
		var object T
		if err := yaml.Unmarshal([]byte(doc), &object); err != nil {
			t.Fatal(err)
		}
		all = append(all, object)
	}
	if len(all) == 0 {
		t.Fatalf("%s holds no %s", file, kind)
	}
	return all
}

func podOf(set *appsv1.DaemonSet, node string) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: set.Namespace, Name: set.Name + "-" + node, OwnerReferences: []metav1.OwnerReference{{UID: set.UID}}},
		Spec:       corev1.PodSpec{NodeName: node},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
}

func class(name string, spec v1.SecretProviderClassSpec) v1.SecretProviderClass {
	return v1.SecretProviderClass{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: spec}
}

func filling() v1.SecretProviderClass {
	return class("db", v1.SecretProviderClassSpec{
		Provider: "vault", Parameters: map[string]string{"roleName": "shop"},
		SecretObjects: []*v1.SecretObject{{SecretName: "db", Type: "Opaque"}},
	})
}

// healthy is the manifests as they are, installed on one node.
func healthy(t *testing.T) *doctor.Snapshot {
	t.Helper()
	set := read[appsv1.DaemonSet](t, "base/daemonset.yaml", "DaemonSet")[0]
	set.UID, set.Status.DesiredNumberScheduled = types.UID("driver"), 1
	vault := read[appsv1.DaemonSet](t, "components/provider-vault/daemonset.yaml", "DaemonSet")[0]
	vault.UID = types.UID("vault")
	driver := read[storagev1.CSIDriver](t, "base/csidriver.yaml", "CSIDriver")[0]
	driver.Spec.TokenRequests = []storagev1.TokenRequest{{Audience: "vault"}}
	s := &doctor.Snapshot{
		Drivers: cluster.Drivers([]appsv1.DaemonSet{set, vault}), Providers: cluster.Providers([]appsv1.DaemonSet{set, vault}, cluster.Driver{}.ProviderDirs()),
		Pods:  []corev1.Pod{podOf(&set, "node-1"), podOf(&vault, "node-1")},
		Nodes: []corev1.Node{{ObjectMeta: metav1.ObjectMeta{Name: "node-1"}, Status: corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{KubeletVersion: "v1.36.3"}}}},
		CSINodes: []storagev1.CSINode{{
			ObjectMeta: metav1.ObjectMeta{Name: "node-1"},
			Spec:       storagev1.CSINodeSpec{Drivers: []storagev1.CSINodeDriver{{Name: "secrets-store.csi.k8s.io", NodeID: "node-1"}}},
		}},
		CSIDriver: &driver, CRDs: map[string]*unstructured.Unstructured{}, Policies: map[string]admissionv1.ValidatingAdmissionPolicy{},
		Namespaces: map[string]corev1.Namespace{"shop": {ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{"secrets-store.csi.x-k8s.io/sync": "enabled"}}}},
		Classes:    []v1.SecretProviderClass{filling()},
		Rights:     map[doctor.Right]bool{}, Unready: map[string]string{}, Up: map[string]bool{},
	}
	for _, name := range []string{"secretproviderclasses", "secretproviderclasspodstatuses", "syncedsecrets"} {
		crd := read[map[string]any](t, "base/crds/secrets-store.csi.x-k8s.io_"+name+".yaml", "CustomResourceDefinition")[0]
		s.CRDs[name+".secrets-store.csi.x-k8s.io"] = &unstructured.Unstructured{Object: crd}
	}
	for _, file := range []string{"base/policy.yaml", "components/sync-secrets/policy.yaml"} {
		for _, p := range read[admissionv1.ValidatingAdmissionPolicy](t, file, "ValidatingAdmissionPolicy") {
			s.Policies[p.Name] = p
		}
		s.Bindings = append(s.Bindings, read[admissionv1.ValidatingAdmissionPolicyBinding](t, file, "ValidatingAdmissionPolicyBinding")...)
	}
	for _, right := range doctor.Needed() {
		s.Rights[right] = true
	}
	return s
}

func status(kind, reason string) v1.SecretProviderClassPodStatus {
	return v1.SecretProviderClassPodStatus{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-shop-db"},
		Status: v1.SecretProviderClassPodStatusStatus{PodName: "web", SecretProviderClassName: "db", Conditions: []metav1.Condition{
			{Type: kind, Status: metav1.ConditionFalse, Reason: reason, Message: "permission denied"},
		}},
	}
}

type broken struct {
	name   string
	change func(*doctor.Snapshot)
	id     doctor.Word
	says   string
}

func breaks() []broken {
	return slices.Concat(nodeBreaks(), objectBreaks(), useBreaks())
}

func nodeBreaks() []broken {
	upstream := func(s *doctor.Snapshot) {
		d := s.Drivers[0]
		d.Ours, d.Set.Name = false, "csi-upstream"
		s.Drivers = append(s.Drivers, d)
	}
	unready := func(i int, said string) func(*doctor.Snapshot) {
		return func(s *doctor.Snapshot) {
			s.Pods[i].Status.Conditions[0].Status = corev1.ConditionFalse
			s.Unready[s.Pods[i].Name] = said
		}
	}
	return []broken{
		{"not allowed", func(s *doctor.Snapshot) { s.Unread = []doctor.Unread{{What: "nodes", Err: errors.New("forbidden")}} }, doctor.NotChecked, "forbidden"},
		{"no driver", func(s *doctor.Snapshot) { s.Drivers = nil }, doctor.DriverMissing, "kubectl apply"},
		{"upstream beside", upstream, doctor.UpstreamDriver, "delete daemonset csi-upstream"},
		{"driver not ready", unready(0, "providers: nobody answers at the socket of azure"), doctor.DriverNotReady, "socket of azure"},
		{"driver without a pod", func(s *doctor.Snapshot) { s.Drivers[0].Set.Status.DesiredNumberScheduled = 2 }, doctor.DriverNotReady, "has 1 pods, and should have 2"},
		{"driver without a place", func(s *doctor.Snapshot) {
			s.Pods[0].Spec.NodeName = ""
			s.Pods[0].Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "Insufficient memory"}}
		}, doctor.DriverNotReady, "no node yet is not ready: it has no place on a node: Insufficient memory"},
		{"not registered", func(s *doctor.Snapshot) { s.CSINodes[0].Spec.Drivers = nil }, doctor.DriverNotRegistered, "node-1"},
		{"provider not ready", unready(1, ""), doctor.ProviderNotReady, "vault-csi-provider"},
		{"old kubelet", func(s *doctor.Snapshot) { s.Nodes[0].Status.NodeInfo.KubeletVersion = "v1.29.9-eks-1" }, doctor.KubeletTooOld, "v1.29.9-eks-1"},
		{"tokens from old kubelets", func(s *doctor.Snapshot) {
			s.Nodes[0].Status.NodeInfo.KubeletVersion = "v1.34.2"
			s.CSIDriver.Spec.ServiceAccountTokenInSecrets = new(true)
		}, doctor.TokensInSecrets, "node-1"},
	}
}

func objectBreaks() []broken {
	const spcps = "secretproviderclasspodstatuses.secrets-store.csi.x-k8s.io"
	lose := func(s *doctor.Snapshot, crd string, field ...string) {
		versions, _, _ := unstructured.NestedSlice(s.CRDs[crd].Object, "spec", "versions")
		for _, v := range versions {
			unstructured.RemoveNestedField(v.(map[string]any), append([]string{"schema", "openAPIV3Schema", "properties"}, field...)...)
		}
		_ = unstructured.SetNestedSlice(s.CRDs[crd].Object, versions, "spec", "versions")
	}
	return []broken{
		{"no csidriver", func(s *doctor.Snapshot) { s.CSIDriver = nil }, doctor.CSIDriverMissing, "secrets-store.csi.k8s.io"},
		{"no csidriver of a release", func(s *doctor.Snapshot) {
			s.CSIDriver, s.Drivers[0].Set.Annotations = nil, map[string]string{"meta.helm.sh/release-name": "csi"}
		}, doctor.CSIDriverMissing, "helm -n kube-system upgrade csi CHART"},
		{"no pod info", func(s *doctor.Snapshot) { s.CSIDriver.Spec.PodInfoOnMount = new(false) }, doctor.CSIDriverField, "podInfoOnMount"},
		{"no republish", func(s *doctor.Snapshot) { s.CSIDriver.Spec.RequiresRepublish = nil }, doctor.CSIDriverField, "requiresRepublish"},
		{"attach", func(s *doctor.Snapshot) { s.CSIDriver.Spec.AttachRequired = new(true) }, doctor.CSIDriverField, "attachRequired"},
		{"not ephemeral", func(s *doctor.Snapshot) { s.CSIDriver.Spec.VolumeLifecycleModes = nil }, doctor.CSIDriverField, "Ephemeral"},
		{"no audience", func(s *doctor.Snapshot) { s.CSIDriver.Spec.TokenRequests = nil }, doctor.AudienceMissing, `"value":[{"audience":"vault"}]`},
		{"audience of a class", func(s *doctor.Snapshot) { s.Classes[0].Spec.Parameters["audience"] = "shop" }, doctor.AudienceMissing, "secretproviderclass shop/db"},
		{"no crd", func(s *doctor.Snapshot) { delete(s.CRDs, spcps) }, doctor.CRDMissing, spcps},
		{"upstream's crd", func(s *doctor.Snapshot) { lose(s, spcps, "status", "properties", "conditions") }, doctor.CRDOutdated, "status.conditions"},
		{"no right", func(s *doctor.Snapshot) { s.Rights[doctor.Right{Verb: "create", Resource: "events"}] = false }, doctor.RightMissing, "create events"},
		{"upstream's right", func(s *doctor.Snapshot) { s.Rights[doctor.Right{Verb: "list", Resource: "secrets"}] = true }, doctor.RightTooMuch, "list secrets"},
		{"no policy", func(s *doctor.Snapshot) { delete(s.Policies, "secrets-store-csi-driver-podstatuses") }, doctor.PolicyMissing, "podstatuses"},
		{"no binding", func(s *doctor.Snapshot) { s.Bindings = s.Bindings[1:] }, doctor.PolicyMissing, "validatingadmissionpolicybinding"},
		{"audit only", func(s *doctor.Snapshot) {
			s.Bindings[2].Spec.ValidationActions = []admissionv1.ValidationAction{admissionv1.Audit}
		}, doctor.PolicyMissing, "syncedsecrets"},
		{"policy of another", func(s *doctor.Snapshot) {
			s.Policies["secrets-store-csi-driver-secrets"].Spec.MatchConditions[0].Expression = "request.userInfo.username == 'system:serviceaccount:csi:secrets-store-csi-driver'"
		}, doctor.PolicyOfAnother, "system:serviceaccount:kube-system:secrets-store-csi-driver"},
	}
}

func useBreaks() []broken {
	add := func(spec v1.SecretProviderClassSpec) func(*doctor.Snapshot) {
		return func(s *doctor.Snapshot) { s.Classes = append(s.Classes, class("other", spec)) }
	}
	some := map[string]string{"a": "b"}
	return []broken{
		{"no provider", add(v1.SecretProviderClassSpec{Parameters: some}), doctor.ClassIncomplete, "spec.provider"},
		{"no parameters", add(v1.SecretProviderClassSpec{Provider: "vault"}), doctor.ClassIncomplete, "spec.parameters"},
		{"unknown provider", add(v1.SecretProviderClassSpec{Provider: "vualt", Parameters: some}), doctor.ProviderMissing, `"vualt"`},
		{"no opt-in", func(s *doctor.Snapshot) { s.Namespaces["shop"].Labels["secrets-store.csi.x-k8s.io/sync"] = "" }, doctor.SyncNotAllowed, "kubectl label namespace shop"},
		{"no right to fill", func(s *doctor.Snapshot) {
			for _, namespace := range []string{"", "shop"} {
				s.Rights[doctor.Right{Verb: "update", Resource: "secrets", Namespace: namespace}] = false
			}
		}, doctor.SyncNotAllowed, "sync-secrets"},
		{"stale", func(s *doctor.Snapshot) { s.Statuses = append(s.Statuses, status("Ready", "StoreDenied")) }, doctor.VolumeNotRefreshed, "StoreDenied, for the volumes of web"},
		{"not filled", func(s *doctor.Snapshot) { s.Statuses = append(s.Statuses, status("Synced", "Conflict")) }, doctor.SecretNotFilled, "Conflict"},
	}
}

func TestExamine(t *testing.T) {
	if all := doctor.Examine(healthy(t)); len(all) > 0 {
		t.Fatalf("what is healthy has findings: %v", all)
	}
	seen := map[doctor.Word]bool{}
	for _, tc := range breaks() {
		t.Run(tc.name, func(t *testing.T) {
			s := healthy(t)
			tc.change(s)
			all := doctor.Examine(s)
			if len(all) != 1 {
				t.Fatalf("%d findings, want one: %v", len(all), all)
			}
			f := all[0]
			if text := f.Object + "\n" + f.Cause + "\n" + f.Cure; f.ID != tc.id || !strings.Contains(text, tc.says) {
				t.Errorf("%s: %s\nwant %s with %q", f.ID, text, tc.id, tc.says)
			}
			if f.Object == "" || f.Cause == "" || f.Cure == "" {
				t.Errorf("something is left out: %+v", f)
			}
		})
		seen[tc.id] = true
	}
	for _, word := range doctor.Words() {
		if !seen[word] {
			t.Errorf("nothing shows %s", word)
		}
	}
}

// What is no trouble: namespaces that go, lists of the policy, providers that a driver has reached.
func TestNoFinding(t *testing.T) {
	for name, change := range map[string]func(*doctor.Snapshot){
		"a namespace that goes": func(s *doctor.Snapshot) {
			n := s.Namespaces["shop"]
			n.DeletionTimestamp, n.Labels = &metav1.Time{Time: time.Now()}, nil
			s.Namespaces["shop"] = n
			s.Statuses = append(s.Statuses, status("Ready", "StoreDenied"))
		},
		"the list of the policy": func(s *doctor.Snapshot) {
			s.Namespaces["shop"].Labels["secrets-store.csi.x-k8s.io/sync"] = ""
			s.Policies["secrets-store-csi-driver-secrets"].Spec.Variables[0].Expression = `["pay", "shop"]`
		},
		"a provider that was reached": func(s *doctor.Snapshot) {
			s.Up["ours"] = true
			s.Classes = append(s.Classes, class("other", v1.SecretProviderClassSpec{Provider: "ours", Parameters: map[string]string{"a": "b"}}))
		},
		"a provider that asks for tokens": func(s *doctor.Snapshot) {
			s.Providers[0].Args["allow-token-request"] = ""
			s.CSIDriver.Spec.TokenRequests = nil
		},
		"the provider of Vault's maker, which asks for tokens, too": func(s *doctor.Snapshot) {
			s.Providers[0].Set.Spec.Template.Spec.Containers[0].Image = "example.com/mirror/hashicorp/vault-csi-provider:1.7.0"
			s.CSIDriver.Spec.TokenRequests = nil
		},
		"windows": func(s *doctor.Snapshot) {
			d := s.Drivers[0]
			d.Ours, d.Set.Spec.Template.Spec.NodeSelector = false, map[string]string{"kubernetes.io/os": "windows"}
			s.Drivers = append(s.Drivers, d)
			s.Nodes[0].Labels = map[string]string{"kubernetes.io/os": "windows"}
			s.Nodes[0].Status.NodeInfo.KubeletVersion = "v1.20.0"
		},
	} {
		s := healthy(t)
		change(s)
		if all := doctor.Examine(s); len(all) > 0 {
			t.Errorf("%s: %v", name, all)
		}
	}
}

func TestPrint(t *testing.T) {
	var out bytes.Buffer
	if err := doctor.Print(&out, nil); err != nil || !strings.Contains(out.String(), "nothing is wrong") {
		t.Errorf("%s (%v)", &out, err)
	}
	out.Reset()
	if err := doctor.Print(&out, []doctor.Finding{{ID: "A", Object: "b", Cause: "c\nand\tc", Cure: "d"}}); err != nil || out.String() != "A\n  object  b\n  cause   c and c\n  cure    d\n" {
		t.Errorf("%q (%v)", &out, err)
	}
}

// Whoever reads a word finds it on the page.
func TestPage(t *testing.T) {
	text, err := os.ReadFile("../../../../docs/strongroomctl.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range doctor.Words() {
		if !strings.Contains(string(text), "| `"+string(word)+"` |") {
			t.Errorf("docs/strongroomctl.md has no line for %s", word)
		}
	}
}
