package explain

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cluster"
)

// Facts are what was read about a pod.
type Facts struct {
	Pod      corev1.Pod
	Drivers  []cluster.Driver
	Classes  map[string]v1.SecretProviderClass // by name
	Statuses []v1.SecretProviderClassPodStatus // of the namespace
	Synced   map[string]v1.SyncedSecret        // by name
	Events   []corev1.Event                    // of the pod and of its classes
	Unread   []string                          // what could not be read, and why
	Unseen   []string                          // what of that others depend on
}

// What others depend on.
const (
	unseenStatuses = "secretproviderclasspodstatuses"
	unseenClass    = "secretproviderclass " // and its name
)

// Read asks a cluster for what there is about a pod. Only the pod itself must be readable.
func Read(ctx context.Context, api client.Client, pod client.ObjectKey) (*Facts, error) {
	f := &Facts{Classes: map[string]v1.SecretProviderClass{}, Synced: map[string]v1.SyncedSecret{}}
	if err := api.Get(ctx, pod, &f.Pod); err != nil {
		return nil, fmt.Errorf("get pod %s: %w", pod, err)
	}
	r := reader{f, api}
	var sets appsv1.DaemonSetList
	r.list(ctx, "daemonsets, so when volumes are refreshed is not known", &sets)
	f.Drivers = cluster.Drivers(sets.Items)
	var statuses v1.SecretProviderClassPodStatusList
	r.list(ctx, unseenStatuses, &statuses, client.InNamespace(pod.Namespace))
	f.Statuses = statuses.Items
	var synced v1.SyncedSecretList
	r.list(ctx, "syncedsecrets", &synced, client.InNamespace(pod.Namespace))
	for _, s := range synced.Items {
		f.Synced[s.Name] = s
	}
	r.events(ctx, "Pod", pod.Name)
	for _, v := range f.Pod.Spec.Volumes {
		if name := classOf(v); name != "" && f.uses(v) {
			r.class(ctx, name)
		}
	}
	return f, ctx.Err()
}

type reader struct {
	*Facts

	api client.Client
}

func (r reader) list(ctx context.Context, what string, into client.ObjectList, options ...client.ListOption) {
	if err := r.api.List(ctx, into, options...); err != nil && !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
		r.Unread, r.Unseen = append(r.Unread, fmt.Sprintf("could not list %s: %v", what, err)), append(r.Unseen, what)
	}
}

func (r reader) events(ctx context.Context, kind, name string) {
	var events corev1.EventList
	r.list(ctx, "events of "+kind+" "+name, &events, client.InNamespace(r.Pod.Namespace),
		client.MatchingFields{"involvedObject.kind": kind, "involvedObject.name": name})
	r.Events = append(r.Events, events.Items...)
}

func (r reader) class(ctx context.Context, name string) {
	if _, ok := r.Classes[name]; ok {
		return
	}
	var class v1.SecretProviderClass
	err := r.api.Get(ctx, client.ObjectKey{Namespace: r.Pod.Namespace, Name: name}, &class)
	switch {
	case err == nil:
		r.Classes[name] = class
	case !apierrors.IsNotFound(err):
		r.Unread, r.Unseen = append(r.Unread, fmt.Sprintf("could not get secretproviderclass %s: %v", name, err)), append(r.Unseen, unseenClass+name)
	}
	r.events(ctx, "SecretProviderClass", name)
}

// driver is that which the volumes are of; of two it is ours.
func (f *Facts) driver() *cluster.Driver {
	var found *cluster.Driver
	for i := range f.Drivers {
		if found == nil || f.Drivers[i].Ours {
			found = &f.Drivers[i]
		}
	}
	return found
}

// uses says whether a volume is one of the driver.
func (f *Facts) uses(v corev1.Volume) bool {
	name := cluster.DriverName
	if d := f.driver(); d != nil {
		name = d.Name()
	}
	return v.CSI != nil && v.CSI.Driver == name
}

func classOf(v corev1.Volume) string {
	if v.CSI == nil {
		return ""
	}
	return v.CSI.VolumeAttributes["secretProviderClass"]
}
