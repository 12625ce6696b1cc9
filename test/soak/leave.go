package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/strongroom/strongroom/api/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// leave deletes all pods and waits until nothing is left of any that ever was.
func (s *soak) leave(ctx context.Context, before figures) error {
	if err := eventually(ctx, func() error {
		return s.api.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(namespace))
	}); err != nil {
		return fmt.Errorf("delete the pods: %w", err)
	}
	var after figures
	err := eventually(ctx, func() error {
		var err error
		if err = errors.Join(s.objectsLeft(ctx), s.leftOnNodes()); err != nil {
			return err
		}
		if after, err = s.measure(ctx); err != nil {
			return err
		}
		return after.within(before)
	})
	if err != nil {
		return err
	}
	fmt.Print(comparison(before, after))
	return client.IgnoreNotFound(s.api.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}))
}

// objectsLeft says which objects there still are that went with the pods.
func (s *soak) objectsLeft(ctx context.Context) error {
	lists := map[string]client.ObjectList{
		"pods": &corev1.PodList{}, "secrets": &corev1.SecretList{},
		"secretproviderclasspodstatuses": &v1.SecretProviderClassPodStatusList{}, "syncedsecrets": &v1.SyncedSecretList{},
	}
	var errs []error
	for kind, list := range lists {
		if err := s.api.List(ctx, list, client.InNamespace(namespace)); err != nil {
			errs = append(errs, fmt.Errorf("list %s: %w", kind, err))
		} else if n := meta.LenList(list); n > 0 {
			errs = append(errs, fmt.Errorf("%d %s are left in namespace %s", n, kind, namespace))
		}
	}
	return errors.Join(errs...)
}

// leftOnNodes says which mounts and folders there still are.
func (s *soak) leftOnNodes() error {
	var errs []error
	for _, n := range s.nodes {
		volumes, err := n.volumes()
		errs = append(errs, err)
		for uid := range s.uids {
			if n.has(uid) {
				errs = append(errs, fmt.Errorf("the folder of pod %s is left on %s", uid, n.name))
			}
			for _, v := range volumes {
				if strings.Contains(v, uid) {
					errs = append(errs, fmt.Errorf("a mount is left on %s: %s", n.name, v))
				}
			}
		}
	}
	return errors.Join(errs...)
}
