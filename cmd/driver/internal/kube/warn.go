package kube

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// component is who events are from.
const component = "csi-secrets-store-driver"

const maxEventText = 1024 // what the API server accepts

// Warn makes an event of the pod.
func (c *Cluster) Warn(ctx context.Context, pod provider.Pod, w rotation.Warning) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	now := metav1.Now()
	event := &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: pod.Namespace,
			Name:      pod.Name[:min(len(pod.Name), maxName-40)] + "." + strings.ToLower(rand.Text()),
		},
		InvolvedObject: corev1.ObjectReference{
			Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name, UID: types.UID(pod.UID),
		},
		Type: corev1.EventTypeWarning, Reason: w.Reason, Message: w.Text[:min(len(w.Text), maxEventText)],
		Source:         corev1.EventSource{Component: component, Host: c.node},
		FirstTimestamp: now, LastTimestamp: now, Count: 1,
	}
	if err := c.client.Create(ctx, event); err != nil {
		return fmt.Errorf("create an event of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}
