package kube

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/pkg/rotation"
)

const (
	// adoptAnnotation on a Secret hands it over to the class that it names.
	adoptAnnotation = "secrets-store.csi.x-k8s.io/adopt"
	// probeName is that of Secrets that are never made.
	probeName = "strongroom-policy-probe"
	// probeHolds is how long the answer to a probe holds.
	probeHolds = 2 * time.Minute
	// renewEvery is how often a SyncedSecret is made anew, at most.
	renewEvery = time.Hour
	// collectTime is what garbage collection gets to remove a Secret.
	collectTime = 10 * time.Second
)

// takeOver goes on where the Secret that exists is not the one that was noted, if any
// was. It may be that of a driver that was killed before it noted it, of the upstream
// driver, or somebody else's. Where a policy keeps the driver from what is not its own,
// trying tells. Elsewhere nothing can, but for garbage collection.
func (f *fill) takeOver(ctx context.Context) (done bool, err error) {
	guarded, err := f.guarded(ctx)
	if err != nil {
		return false, err
	}
	if !guarded {
		return f.renew(ctx)
	}
	now, err := f.s.putSecret(ctx, f.secret(written{}))
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, f.putFailed(ctx, err)
	}
	return f.note(ctx, now)
}

// renew makes the SyncedSecret anew. If the Secret is that of a killed driver, it goes
// with its owner, and a try that follows makes one that is noted. If it is somebody
// else's, it stays.
func (f *fill) renew(ctx context.Context) (done bool, err error) {
	now := f.s.now()
	switch since := now.Sub(f.st.renewed); {
	case since < collectTime:
		return false, nil
	case since < renewEvery:
		return false, f.notManaged(false)
	}
	old := f.st.synced
	ctxDelete, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	err = f.s.client.Delete(ctxDelete, old, client.Preconditions{UID: &old.UID, ResourceVersion: &old.ResourceVersion},
		client.PropagationPolicy(metav1.DeletePropagationBackground))
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		f.look = true
		return false, nil
	case apierrors.IsForbidden(err), policyOf(err) != "":
		return false, f.notManaged(false)
	case err != nil:
		return false, f.s.failed(f.request("delete", "syncedsecrets"), err)
	}
	f.st.synced, f.st.renewed = nil, now
	_, err = f.create(ctx, old.OwnerReferences)
	return false, err
}

// guarded says whether a policy denies the driver the Secrets of others: whether it
// may make one with its label, and not one without.
func (f *fill) guarded(ctx context.Context) (bool, error) {
	namespace := f.copy.Pod.Namespace
	if is, ok := f.s.probed.get(namespace, f.s.now()); ok {
		return is, nil
	}
	if err := f.probe(ctx, map[string]string{managedLabel: "true"}); err != nil {
		return false, f.s.failed(f.request("create", "secrets"), err)
	}
	err := f.probe(ctx, nil)
	is := policyOf(err) != ""
	if err != nil && !is {
		return false, f.s.failed(f.request("create", "secrets"), err)
	}
	f.s.probed.put(namespace, is, f.s.now().Add(probeHolds))
	return is, nil
}

// probe asks whether a Secret with labels could be made.
func (f *fill) probe(ctx context.Context, labels map[string]string) error {
	_, err := f.s.postSecret(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.copy.Pod.Namespace, Name: probeName, Labels: labels},
		Type:       corev1.SecretTypeOpaque,
	}, true)
	if apierrors.IsAlreadyExists(err) || errors.Is(err, errAnswer) {
		return nil
	}
	return err
}

// putFailed explains why a Secret could not be replaced. A policy may say no to the
// namespace, or to this Secret, which then is not the driver's.
func (f *fill) putFailed(ctx context.Context, err error) error {
	if policyOf(err) == "" {
		return f.s.failed(f.request("update", "secrets"), err)
	}
	if err := f.probe(ctx, map[string]string{managedLabel: "true"}); err != nil {
		return f.s.failed(f.request("create", "secrets"), err)
	}
	return f.notManaged(true)
}

// notManaged is the refusal to touch a Secret of somebody else.
func (f *fill) notManaged(guarded bool) error {
	adopt := fmt.Sprintf("kubectl annotate secret -n %s %s %s=%s", f.copy.Pod.Namespace, f.want.Name, adoptAnnotation, f.copy.Class)
	err := fmt.Errorf("%s exists and is not the driver's: choose another secretName, or delete it, or, to let class %s fill it, run: %s",
		f, f.copy.Class, adopt)
	if !guarded {
		err = fmt.Errorf("%s exists and is not the driver's: choose another secretName, or delete it, or, to let class %s fill it, "+
			"install the admission policy of %s and run: %s", f, f.copy.Class, syncComponent, adopt)
	}
	return &rotation.Refusal{Reason: rotation.SecretNotManaged, Err: err}
}

func (f *fill) jitter() time.Duration {
	return rand.N(f.s.settle) //nolint:gosec // jitter needs no secrecy
}
