package kube

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/pkg/rotation"
)

// The components that events are from: users of the upstream driver select those
// about Secrets by the second. (driver-contract 6.5)
const (
	component       = "csi-secrets-store-driver"
	secretComponent = "csi-secrets-store-controller"
)

const maxEventText = 1024 // what the API server accepts

// Tell makes an event of the pod, or of the class if there is no pod.
func (c *Cluster) Tell(ctx context.Context, n rotation.Notice) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	about := corev1.ObjectReference{
		Kind: "Pod", APIVersion: "v1", Namespace: n.Pod.Namespace, Name: n.Pod.Name, UID: types.UID(n.Pod.UID),
	}
	if n.Pod.Name == "" {
		about = corev1.ObjectReference{
			Kind: "SecretProviderClass", APIVersion: v1.GroupVersion.String(),
			Namespace: n.Class.Namespace, Name: n.Class.Name, UID: types.UID(n.ClassUID),
		}
	}
	kind := corev1.EventTypeWarning
	if n.Good {
		kind = corev1.EventTypeNormal
	}
	now := metav1.Now()
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: about.Namespace,
			Name:      about.Name[:min(len(about.Name), maxName-40)] + "." + strings.ToLower(rand.Text()),
		},
		InvolvedObject: about,
		Type:           kind, Reason: n.Reason.String(), Message: cut(n.Text, maxEventText),
		Source:         corev1.EventSource{Component: componentOf(n.Reason), Host: c.node},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	if err := c.client.Create(ctx, event); err != nil {
		return fmt.Errorf("create an event of %s %s/%s: %w", about.Kind, about.Namespace, about.Name, err)
	}
	return nil
}

func componentOf(reason rotation.Reason) string {
	switch reason {
	case rotation.SecretInvalid, rotation.SecretConflict, rotation.SecretNotManaged, rotation.SyncNotAllowed, rotation.SyncedReason:
		return secretComponent
	default:
		return component
	}
}

// cut keeps the beginning of a text, in whole characters.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "")
}
