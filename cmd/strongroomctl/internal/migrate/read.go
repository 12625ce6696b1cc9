package migrate

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cluster"
)

// managed is the label of Secrets that a driver fills.
const managed = "secrets-store.csi.k8s.io/managed"

// Snapshot is what was read of a cluster.
type Snapshot struct {
	Version    string
	Drivers    []cluster.Driver // upstream's
	Providers  []cluster.Provider
	CSIDriver  *storagev1.CSIDriver
	Classes    []v1.SecretProviderClass
	Pods       []corev1.Pod
	Secrets    []metav1.PartialObjectMetadata // that are managed
	Namespaces map[string]corev1.Namespace
	Unread     []string
}

// Read asks a cluster for all that matters. What the user may not read is in Unread.
func Read(ctx context.Context, api *cluster.Cluster) (*Snapshot, error) {
	version, err := api.Version(ctx)
	if err != nil {
		return nil, err
	}
	r := reader{&Snapshot{Version: version, Namespaces: map[string]corev1.Namespace{}}, api}
	r.sets(ctx)
	r.csiDriver(ctx)
	var classes v1.SecretProviderClassList
	r.list(ctx, "secretproviderclasses", &classes)
	var pods corev1.PodList
	r.list(ctx, "pods", &pods)
	secrets := metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "SecretList"}}
	r.list(ctx, "the names of managed secrets", &secrets, client.MatchingLabels{managed: "true"})
	var namespaces corev1.NamespaceList
	r.list(ctx, "namespaces", &namespaces)
	for _, n := range namespaces.Items {
		r.Namespaces[n.Name] = n
	}
	r.Classes, r.Pods, r.Secrets = classes.Items, pods.Items, secrets.Items
	return r.Snapshot, ctx.Err()
}

type reader struct {
	*Snapshot

	api *cluster.Cluster
}

func (r reader) list(ctx context.Context, what string, into client.ObjectList, options ...client.ListOption) {
	if err := r.api.List(ctx, into, options...); err != nil && !meta.IsNoMatchError(err) && !apierrors.IsNotFound(err) {
		r.Unread = append(r.Unread, fmt.Sprintf("list %s: %v", what, err))
	}
}

func (r reader) sets(ctx context.Context) {
	var sets appsv1.DaemonSetList
	r.list(ctx, "daemonsets", &sets)
	dirs := cluster.Driver{}.ProviderDirs()
	for _, d := range cluster.Drivers(sets.Items) {
		dirs = append(dirs, d.ProviderDirs()...)
		if !d.Ours {
			r.Drivers = append(r.Drivers, d)
		}
	}
	r.Providers = cluster.Providers(sets.Items, dirs)
}

func (r reader) csiDriver(ctx context.Context) {
	var object storagev1.CSIDriver
	err := r.api.Get(ctx, client.ObjectKey{Name: r.driverName()}, &object)
	switch {
	case err == nil:
		r.CSIDriver = &object
	case !apierrors.IsNotFound(err):
		r.Unread = append(r.Unread, fmt.Sprintf("get csidriver %s: %v", r.driverName(), err))
	}
}

// driverName is that of upstream's driver, which ours takes over.
func (s *Snapshot) driverName() string {
	if len(s.Drivers) > 0 {
		return s.Drivers[0].Name()
	}
	return cluster.DriverName
}
