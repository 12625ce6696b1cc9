package kube

import (
	"context"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// findOwner says who uses the Secret: what the pod belongs to. It asks once per pod.
func (f *fill) findOwner(ctx context.Context) error {
	if owner, ok := f.s.owners.get(f.copy.Pod.UID, f.s.now()); ok {
		f.owner = owner
		return nil
	}
	return f.readPod(ctx)
}

// readPod looks at the pod, once in a call. Where the pod is gone, or will be soon, no
// owner may be noted: nothing would remove it.
func (f *fill) readPod(ctx context.Context) error {
	if f.seen {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	pod := &metav1.PartialObjectMetadata{}
	pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
	name := client.ObjectKey{Namespace: f.copy.Pod.Namespace, Name: f.copy.Pod.Name}
	err := f.s.client.Get(ctx, name, pod)
	switch {
	case apierrors.IsNotFound(err):
		return errPodGone
	case err != nil:
		return f.s.failed(request{"get", "pods", name}, err)
	case string(pod.UID) != f.copy.Pod.UID, pod.DeletionTimestamp != nil:
		return errPodGone
	}
	f.owner, f.seen = ownerOf(pod), true
	f.s.owners.put(f.copy.Pod.UID, f.owner, f.s.now())
	return nil
}

// ownerOf is the controller of a pod, or the pod itself if it has none.
func ownerOf(pod *metav1.PartialObjectMetadata) metav1.OwnerReference {
	if c := metav1.GetControllerOf(pod); c != nil {
		return metav1.OwnerReference{APIVersion: c.APIVersion, Kind: c.Kind, Name: c.Name, UID: c.UID}
	}
	return metav1.OwnerReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID}
}

func hasOwner(object metav1.Object, uid types.UID) bool {
	for _, owner := range object.GetOwnerReferences() {
		if owner.UID == uid {
			return true
		}
	}
	return false
}

// owners remembers what pods belong to, by the UID of the pod.
type owners struct {
	mu    sync.Mutex
	all   map[string]*ownerUse
	swept time.Time
}

type ownerUse struct {
	owner metav1.OwnerReference
	used  time.Time
}

func newOwners() owners { return owners{all: map[string]*ownerUse{}} }

func (o *owners) get(pod string, now time.Time) (metav1.OwnerReference, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	use := o.all[pod]
	if use == nil {
		return metav1.OwnerReference{}, false
	}
	use.used = now
	return use.owner, true
}

func (o *owners) put(pod string, owner metav1.OwnerReference, now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all[pod] = &ownerUse{owner: owner, used: now}
}

func (o *owners) sweep(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.swept) < sweepEvery {
		return
	}
	o.swept = now
	for pod, use := range o.all {
		if now.Sub(use.used) > rememberUnused {
			delete(o.all, pod)
		}
	}
}
