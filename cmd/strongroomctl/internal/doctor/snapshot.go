package doctor

import (
	"context"
	"fmt"
	"slices"
	"sync"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cluster"
)

// Snapshot is what was read of a cluster.
type Snapshot struct {
	Drivers    []cluster.Driver
	Providers  []cluster.Provider
	Pods       []corev1.Pod // of drivers and providers
	Nodes      []corev1.Node
	CSINodes   []storagev1.CSINode
	CSIDriver  *storagev1.CSIDriver
	CRDs       map[string]*unstructured.Unstructured
	Policies   map[string]admissionv1.ValidatingAdmissionPolicy
	Bindings   []admissionv1.ValidatingAdmissionPolicyBinding
	Namespaces map[string]corev1.Namespace
	Classes    []v1.SecretProviderClass
	Statuses   []v1.SecretProviderClassPodStatus
	Rights     map[Right]bool    // of the driver; what is not here was not asked for
	Unready    map[string]string // what pods of the driver that are not ready say, by their names
	Up         map[string]bool   // providers that a driver has reached
	Unread     []Unread

	mu sync.Mutex
}

// Unread is what could not be read.
type Unread struct {
	What string
	Err  error
}

// Driver is ours, or nil.
func (s *Snapshot) Driver() *cluster.Driver {
	for i := range s.Drivers {
		if s.Drivers[i].Ours {
			return &s.Drivers[i]
		}
	}
	return nil
}

func (s *Snapshot) unread(what string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Unread = append(s.Unread, Unread{what, err})
}

// reader reads into a Snapshot.
type reader struct {
	*Snapshot

	api       *cluster.Cluster
	namespace string // of classes and statuses; "" for all
}

// Read asks a cluster for all that is examined. Classes and volumes are those of a namespace, or
// all if it is "". It fails if the API server does not answer; what it may not see is in Unread.
func Read(ctx context.Context, api *cluster.Cluster, namespace string) (*Snapshot, error) {
	if _, err := api.Version(ctx); err != nil {
		return nil, err
	}
	r := &reader{&Snapshot{
		CRDs: map[string]*unstructured.Unstructured{}, Policies: map[string]admissionv1.ValidatingAdmissionPolicy{},
		Namespaces: map[string]corev1.Namespace{}, Rights: map[Right]bool{}, Unready: map[string]string{}, Up: map[string]bool{},
	}, api, namespace}
	together(ctx, r.sets, r.nodes, r.policies, r.namespaces, r.classes, r.statuses, r.crds)
	together(ctx, r.csiDriver, r.pods, r.rights)
	r.pages(ctx)
	return r.Snapshot, ctx.Err()
}

func together(ctx context.Context, tasks ...func(context.Context)) {
	var group sync.WaitGroup
	for _, task := range tasks {
		group.Go(func() { task(ctx) })
	}
	group.Wait()
}

func (r *reader) list(ctx context.Context, what string, into client.ObjectList, options ...client.ListOption) {
	if err := r.api.List(ctx, into, options...); err != nil && !missing(err) {
		r.unread(what, err)
	}
}

// missing says that there is no such object, or no such kind.
func missing(err error) bool { return apierrors.IsNotFound(err) || meta.IsNoMatchError(err) }

func (r *reader) sets(ctx context.Context) {
	var sets appsv1.DaemonSetList
	r.list(ctx, "daemonsets", &sets)
	r.Drivers = cluster.Drivers(sets.Items)
	// That which works is ours; of two, that which has pods.
	slices.SortStableFunc(r.Drivers, func(a, b cluster.Driver) int {
		return int(b.Set.Status.DesiredNumberScheduled - a.Set.Status.DesiredNumberScheduled)
	})
	dirs := cluster.Driver{}.ProviderDirs()
	for _, d := range r.Drivers {
		dirs = append(dirs, d.ProviderDirs()...)
	}
	r.Providers = cluster.Providers(sets.Items, dirs)
}

func (r *reader) nodes(ctx context.Context) {
	var nodes corev1.NodeList
	r.list(ctx, "nodes", &nodes)
	var csi storagev1.CSINodeList
	r.list(ctx, "csinodes", &csi)
	r.Nodes, r.CSINodes = nodes.Items, csi.Items
}

func (r *reader) policies(ctx context.Context) {
	var policies admissionv1.ValidatingAdmissionPolicyList
	r.list(ctx, "validatingadmissionpolicies", &policies)
	for _, p := range policies.Items {
		r.Policies[p.Name] = p
	}
	var bindings admissionv1.ValidatingAdmissionPolicyBindingList
	r.list(ctx, "validatingadmissionpolicybindings", &bindings)
	r.Bindings = bindings.Items
}

func (r *reader) namespaces(ctx context.Context) {
	var all corev1.NamespaceList
	r.list(ctx, "namespaces", &all)
	for _, n := range all.Items {
		r.Namespaces[n.Name] = n
	}
}

func (r *reader) classes(ctx context.Context) {
	var classes v1.SecretProviderClassList
	r.list(ctx, "secretproviderclasses", &classes, client.InNamespace(r.namespace))
	r.Classes = classes.Items
}

func (r *reader) statuses(ctx context.Context) {
	var statuses v1.SecretProviderClassPodStatusList
	r.list(ctx, "secretproviderclasspodstatuses", &statuses, client.InNamespace(r.namespace))
	r.Statuses = statuses.Items
}

// crds are read as they are: a field that we do not know is a field that is there.
func (r *reader) crds(ctx context.Context) {
	for _, name := range crdNames() {
		crd := &unstructured.Unstructured{}
		crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
		err := r.api.Get(ctx, client.ObjectKey{Name: name}, crd)
		switch {
		case err == nil:
			r.CRDs[name] = crd
		case !missing(err):
			r.unread("customresourcedefinition "+name, err)
		}
	}
}

func (r *reader) csiDriver(ctx context.Context) {
	name := cluster.DriverName
	if d := r.Driver(); d != nil {
		name = d.Name()
	}
	var object storagev1.CSIDriver
	err := r.api.Get(ctx, client.ObjectKey{Name: name}, &object)
	switch {
	case err == nil:
		r.CSIDriver = &object
	case !missing(err):
		r.unread("csidriver "+name, err)
	}
}

// pods of the DaemonSets, by what these select.
func (r *reader) pods(ctx context.Context) {
	sets := make([]appsv1.DaemonSet, 0, len(r.Drivers)+len(r.Providers))
	for _, d := range r.Drivers {
		sets = append(sets, d.Set)
	}
	for _, p := range r.Providers {
		sets = append(sets, p.Set)
	}
	for i := range sets {
		var pods corev1.PodList
		what := fmt.Sprintf("pods of daemonset %s/%s", sets[i].Namespace, sets[i].Name)
		selector, err := metav1.LabelSelectorAsSelector(sets[i].Spec.Selector)
		if err != nil {
			r.unread(what, err)
			continue
		}
		r.list(ctx, what, &pods, client.InNamespace(sets[i].Namespace), client.MatchingLabelsSelector{Selector: selector})
		r.Pods = append(r.Pods, pods.Items...)
	}
}

// podsOf are those of a DaemonSet that are not about to go.
func (s *Snapshot) podsOf(set *appsv1.DaemonSet) []*corev1.Pod {
	var pods []*corev1.Pod
	for i := range s.Pods {
		p := &s.Pods[i]
		if p.DeletionTimestamp == nil && slices.ContainsFunc(p.OwnerReferences, ownedBy(set)) {
			pods = append(pods, p)
		}
	}
	return pods
}
