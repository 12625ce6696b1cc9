package kube

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

const (
	// nodeLabel selects a node's records (driver-contract 1.2). A name that is too
	// long for a label is hashed in it.
	nodeLabel = "internal.secrets-store.csi.k8s.io/node-name"
	// nodeAnnotation holds the whole name of the node.
	nodeAnnotation = "internal.secrets-store.csi.k8s.io/node-name"

	maxLabel = 63
	maxName  = 253
)

// Record writes a SecretProviderClassPodStatus that says what is mounted. It writes
// nothing if that is what the object says already.
func (c *Cluster) Record(ctx context.Context, s rotation.Snapshot) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	name, fits := plainName(s)
	if !fits {
		return c.recordAs(ctx, hashedName(s), s)
	}
	want := c.status(name, s)
	found, err := c.make(ctx, want, s.Known)
	switch {
	case err != nil || found == nil:
		return err
	case isOf(found, s):
		return c.update(ctx, found, want)
	case isOfOtherVolume(found, s):
		return c.recordAs(ctx, hashedName(s), s)
	}
	return foreign(found, s)
}

func (c *Cluster) recordAs(ctx context.Context, name string, s rotation.Snapshot) error {
	want := c.status(name, s)
	found, err := c.make(ctx, want, s.Known)
	if err != nil || found == nil {
		return err
	}
	if !isOf(found, s) {
		return foreign(found, s)
	}
	return c.update(ctx, found, want)
}

// make returns nil if it made the object, else the one that is there. It is looked for
// first if it is known to be.
func (c *Cluster) make(ctx context.Context, want *v1.SecretProviderClassPodStatus, known bool) (*v1.SecretProviderClassPodStatus, error) {
	if known {
		var found v1.SecretProviderClassPodStatus
		err := c.client.Get(ctx, client.ObjectKeyFromObject(want), &found)
		if err == nil {
			return &found, nil
		}
		if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("get secretproviderclasspodstatus %s/%s: %w", want.Namespace, want.Name, err)
		}
	}
	return c.createOrGet(ctx, want)
}

// createOrGet returns nil if it made the object, else the one that is there.
func (c *Cluster) createOrGet(ctx context.Context, want *v1.SecretProviderClassPodStatus) (*v1.SecretProviderClassPodStatus, error) {
	err := c.client.Create(ctx, want.DeepCopy())
	if err == nil {
		return nil, nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return nil, fmt.Errorf("create secretproviderclasspodstatus %s/%s: %w", want.Namespace, want.Name, err)
	}
	var found v1.SecretProviderClassPodStatus
	if err := c.client.Get(ctx, client.ObjectKeyFromObject(want), &found); err != nil {
		return nil, fmt.Errorf("get secretproviderclasspodstatus %s/%s: %w", want.Namespace, want.Name, err)
	}
	return &found, nil
}

func (c *Cluster) update(ctx context.Context, found, want *v1.SecretProviderClassPodStatus) error {
	next := found.DeepCopy()
	if next.Labels == nil {
		next.Labels = map[string]string{}
	}
	if next.Annotations == nil {
		next.Annotations = map[string]string{}
	}
	next.Labels[nodeLabel] = want.Labels[nodeLabel]
	next.Annotations[nodeAnnotation] = want.Annotations[nodeAnnotation]
	next.OwnerReferences = want.OwnerReferences
	next.Status = want.Status
	keepTimes(next.Status.Conditions, found.Status.Conditions)
	if equality.Semantic.DeepEqual(found, next) {
		return nil
	}
	if err := c.client.Update(ctx, next); err != nil { // under its resourceVersion
		return fmt.Errorf("update secretproviderclasspodstatus %s/%s: %w", next.Namespace, next.Name, err)
	}
	return nil
}

// keepTimes leaves a condition that did not change as it was written.
func keepTimes(next, found []metav1.Condition) {
	for i := range next {
		if old := meta.FindStatusCondition(found, next[i].Type); old != nil && old.Status == next[i].Status && old.Reason == next[i].Reason {
			next[i] = *old
		}
	}
}

// isOf says whether a record is that of this volume of this pod.
func isOf(found *v1.SecretProviderClassPodStatus, s rotation.Snapshot) bool {
	return ownedBy(found, s.Pod.UID) && (found.Status.TargetPath == s.Target || found.Status.TargetPath == "")
}

// isOfOtherVolume says whether a record belongs to something that will keep it as
// long as this volume lives: another volume of the pod with the same class, or
// a pod and a class whose names only read the same when they are joined.
func isOfOtherVolume(found *v1.SecretProviderClassPodStatus, s rotation.Snapshot) bool {
	if ownedBy(found, s.Pod.UID) {
		return true
	}
	return found.Status.PodName != "" && found.Status.PodName != s.Pod.Name
}

func ownedBy(found *v1.SecretProviderClassPodStatus, podUID string) bool {
	for _, owner := range found.OwnerReferences {
		if owner.UID == types.UID(podUID) {
			return true
		}
	}
	return false
}

// foreign is the error for a record that a former pod of the same name left: garbage
// collection removes it, and then a try succeeds.
func foreign(found *v1.SecretProviderClassPodStatus, s rotation.Snapshot) error {
	return provider.Errorf(provider.Busy, "secretproviderclasspodstatus %s/%s belongs to an earlier pod, not to the pod with UID %s: "+
		"waiting for its garbage collection", found.Namespace, found.Name, s.Pod.UID)
}

func (c *Cluster) status(name string, s rotation.Snapshot) *v1.SecretProviderClassPodStatus {
	status := &v1.SecretProviderClassPodStatus{
		ObjectMeta: metav1.ObjectMeta{
			Name: name, Namespace: s.Pod.Namespace,
			Labels:      map[string]string{nodeLabel: labelValue(c.node)},
			Annotations: map[string]string{nodeAnnotation: c.node},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: "v1", Kind: "Pod", Name: s.Pod.Name, UID: types.UID(s.Pod.UID),
			}},
		},
		Status: v1.SecretProviderClassPodStatusStatus{
			PodName: s.Pod.Name, SecretProviderClassName: s.Class, Mounted: true, TargetPath: s.Target,
		},
	}
	for _, version := range s.Versions { // sorted by id
		status.Status.Objects = append(status.Status.Objects, v1.SecretProviderClassObject{ID: version.ID, Version: version.Version})
	}
	for _, c := range s.Conditions {
		status.Status.Conditions = append(status.Status.Conditions, condition(c))
	}
	return status
}

const maxMessage = 1024 // of a condition; the API server accepts more

func condition(c rotation.Condition) metav1.Condition {
	status := metav1.ConditionFalse
	if c.OK {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{
		Type: c.Type, Status: status, Reason: c.Reason.String(), Message: cut(c.Text, maxMessage),
		LastTransitionTime: metav1.NewTime(c.Since.UTC().Truncate(time.Second)),
	}
}

// plainName is the name that users know: pod, namespace and class.
func plainName(s rotation.Snapshot) (name string, fits bool) {
	name = s.Pod.Name + "-" + s.Pod.Namespace + "-" + s.Class
	return name, len(name) <= maxName
}

// hashedName is unique to the volume, and begins as the plain one.
func hashedName(s rotation.Snapshot) string {
	sum := sha256.Sum256([]byte(s.Volume))
	suffix := "-" + hex.EncodeToString(sum[:8])
	name, _ := plainName(s)
	name = strings.TrimRight(name[:min(len(name), maxName-len(suffix))], ".-")
	return name + suffix
}

func labelValue(node string) string {
	if len(node) <= maxLabel {
		return node
	}
	sum := sha256.Sum256([]byte(node))
	return hex.EncodeToString(sum[:16])
}
