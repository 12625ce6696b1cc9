package kube

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// claim makes sure that there is a SyncedSecret for the class with our owner in it. It
// is not done if others changed the object meanwhile.
func (f *fill) claim(ctx context.Context) (done bool, err error) {
	if f.st.synced == nil || f.look {
		if err := f.read(ctx); err != nil {
			return false, err
		}
	}
	switch {
	case f.st.synced == nil:
		return f.create(ctx, nil)
	case f.st.hasOwner(f.owner.UID):
		return true, nil
	}
	// It is new here, or garbage collection took it away: only the pod can tell.
	if err := f.readPod(ctx); err != nil {
		return false, err
	}
	if f.st.hasOwner(f.owner.UID) {
		return true, nil
	}
	next := f.st.synced.DeepCopy()
	next.OwnerReferences = append(next.OwnerReferences, f.owner)
	return f.put(ctx, next)
}

// read looks at the SyncedSecret as it is; the first look of a repeat is at the API
// server's own cache. If there is none, what is known is nil.
func (f *fill) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var options client.GetOptions
	if f.copy.Repeat && !f.looked {
		options.Raw = &metav1.GetOptions{ResourceVersion: "0"}
	}
	var synced v1.SyncedSecret
	err := f.s.client.Get(ctx, f.name(), &synced, &options)
	f.look, f.looked, f.st.synced = false, true, nil
	switch {
	case apierrors.IsNotFound(err) && isObjectMissing(err):
		return nil
	case err != nil:
		return f.s.failed(f.request("get", "syncedsecrets"), err)
	case synced.Spec.SecretProviderClassName != f.copy.Class:
		return &rotation.Refusal{Reason: rotation.SecretConflict, Err: fmt.Errorf(
			"%s is filled by class %s: give it another secretName in class %s, or take it out of class %s and delete syncedsecret %s",
			f, synced.Spec.SecretProviderClassName, f.copy.Class, synced.Spec.SecretProviderClassName, f.want.Name)}
	case synced.DeletionTimestamp != nil:
		return provider.Errorf(provider.Busy, "fill %s: its syncedsecret is being deleted, as is the secret: waiting for that", f)
	}
	f.know(&synced)
	return nil
}

// know keeps what will be needed again.
func (f *fill) know(synced *v1.SyncedSecret) {
	synced.ManagedFields = nil // who leaves them out keeps them
	f.st.synced = synced
}

// create makes the SyncedSecret, with owners and ours.
func (f *fill) create(ctx context.Context, owners []metav1.OwnerReference) (done bool, err error) {
	if err = f.readPod(ctx); err != nil {
		return false, err
	}
	synced := &v1.SyncedSecret{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.copy.Pod.Namespace, Name: f.want.Name, OwnerReferences: owners},
		Spec:       v1.SyncedSecretSpec{SecretProviderClassName: f.copy.Class},
	}
	if !hasOwner(synced, f.owner.UID) {
		synced.OwnerReferences = append(synced.OwnerReferences, f.owner)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err = f.s.client.Create(ctx, synced)
	switch {
	case apierrors.IsAlreadyExists(err):
		return false, nil
	case err != nil:
		return false, f.s.failed(f.request("create", "syncedsecrets"), err)
	}
	f.know(synced)
	return true, nil
}

// put writes the SyncedSecret under its version.
func (f *fill) put(ctx context.Context, next *v1.SyncedSecret) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err = f.s.client.Update(ctx, next)
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err) && isObjectMissing(err):
		f.look = true
		return false, nil
	case err != nil:
		return false, f.s.failed(f.request("update", "syncedsecrets"), err)
	}
	f.know(next)
	return true, nil
}

// note writes down what the Secret is now, unless that is known. If another node wrote
// something else down meanwhile, it is not done: the two must be weighed again.
func (f *fill) note(ctx context.Context, now written) (done bool, err error) {
	base := f.st.synced.Status
	if now.uid == base.SecretUID && now.version == base.SecretResourceVersion {
		f.agree(base.FetchTime)
		return true, nil
	}
	f.changed = true
	status := v1.SyncedSecretStatus{
		SecretUID: now.uid, SecretResourceVersion: now.version, NodeName: f.s.node,
		FetchTime: &metav1.MicroTime{Time: f.fetched},
	}
	if base.FetchTime != nil && f.st.agrees(f.hash, base.FetchTime) { // mended, not changed
		status.FetchTime = base.FetchTime
	}
	for range fillTries {
		uid := f.st.synced.UID
		next := f.st.synced.DeepCopy()
		next.Status = status
		if done, err = f.put(ctx, next); err != nil {
			return false, err
		}
		if done {
			f.agree(status.FetchTime)
			return true, nil
		}
		if err = f.read(ctx); err != nil {
			return false, err
		}
		if f.st.synced == nil || f.st.synced.UID != uid || !sameStatus(f.st.synced.Status, base) {
			return false, nil
		}
	}
	return false, nil
}

// agree remembers that the Secret holds our content, and which fetch time stands for it.
func (f *fill) agree(at *metav1.MicroTime) {
	f.written = true
	f.st.hash, f.st.agreed, f.st.verified = f.hash, at, f.s.now()
}

func sameStatus(a, b v1.SyncedSecretStatus) bool {
	return a.SecretUID == b.SecretUID && a.SecretResourceVersion == b.SecretResourceVersion && a.FetchTime.Equal(b.FetchTime)
}

func (f *fill) name() client.ObjectKey {
	return client.ObjectKey{Namespace: f.copy.Pod.Namespace, Name: f.want.Name}
}

func (f *fill) request(verb, resource string) request {
	return request{verb, resource, f.name()}
}
