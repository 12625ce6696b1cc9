package main

import (
	"context"
	"fmt"

	v1 "github.com/strongroom/strongroom/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// synced are the figures of a class with one Secret.
type synced struct {
	publish  sample
	requests perCall
}

// syncedClass makes a class with one Secret of the same name, which nobody knows yet.
func (b *bench) syncedClass(ctx context.Context) (client.ObjectKey, error) {
	b.synced++
	key := client.ObjectKey{Namespace: namespace, Name: fmt.Sprintf("synced-%d", b.synced)}
	if err := b.cluster.Class(ctx, key, stand.ScriptedName, "foo", "fookey"); err != nil {
		return key, err
	}
	class := &v1.SecretProviderClass{}
	if err := b.cluster.API.Get(ctx, key, class); err != nil {
		return key, err
	}
	class.Spec.SecretObjects = []*v1.SecretObject{{
		SecretName: key.Name, Type: "Opaque", Data: []*v1.SecretObjectData{{ObjectName: "foo", Key: "foo"}},
	}}
	return key, b.cluster.API.Update(ctx, class)
}

func (b *bench) syncedOne(ctx context.Context, f *figures) (err error) {
	f.syncedOne, err = b.syncedRound(ctx, 1)
	return err
}

func (b *bench) syncedSixteen(ctx context.Context, f *figures) (err error) {
	f.syncedSixteen, err = b.syncedRound(ctx, 16)
	return err
}

// syncedRound publishes volumes of pods of one ReplicaSet, in several rounds. The Secret
// of a round is not there before it.
func (b *bench) syncedRound(ctx context.Context, inFlight int) (synced, error) {
	var all []sample
	var s synced
	err := b.with(ctx, func(d *stand.Driver) error {
		for range b.rounds {
			one, err := b.syncedOnce(ctx, d, inFlight)
			if err != nil {
				return err
			}
			all = append(all, one.publish)
			s.requests = one.requests
		}
		return nil
	})
	if err == nil {
		s.publish = median(all)
	}
	return s, err
}

func (b *bench) syncedOnce(ctx context.Context, d *stand.Driver, inFlight int) (s synced, err error) {
	key, err := b.syncedClass(ctx)
	if err != nil {
		return s, err
	}
	volumes, err := b.pods(ctx, key.Name)
	if err != nil {
		return s, err
	}
	before, err := b.requests(ctx)
	if err != nil {
		return s, err
	}
	recorded, err := b.records(ctx, b.volumes)
	if err != nil {
		return s, err
	}
	if s.publish, err = b.publishThese(ctx, d, volumes, inFlight); err != nil {
		return s, err
	}
	if _, err = recorded(); err != nil {
		return s, err
	}
	after, err := b.requests(ctx)
	if err != nil {
		return s, err
	}
	s.requests = after.since(before, b.volumes)
	if err = b.cluster.API.Get(ctx, key, &corev1.Secret{}); err != nil {
		return s, fmt.Errorf("look for the Secret: %w", err)
	}
	if _, err = b.unpublishThese(ctx, d, volumes, 16); err != nil {
		return s, err
	}
	return s, b.cluster.API.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace(namespace), client.GracePeriodSeconds(0))
}

// pods makes pods of one ReplicaSet, and returns the volumes that they mount.
func (b *bench) pods(ctx context.Context, class string) ([]stand.Volume, error) {
	volumes := make([]stand.Volume, b.volumes)
	yes := true
	_, err := measure(ctx, len(volumes), 16, func(ctx context.Context, i int) error {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: fmt.Sprintf("synced-%d", i),
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: "synced", UID: "r1", Controller: &yes}},
			},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "none"}}},
		}
		if err := b.cluster.API.Create(ctx, pod); err != nil {
			return err
		}
		volumes[i] = stand.Volume{Node: b.node, Namespace: namespace, Pod: pod.Name, Class: class, PodUID: string(pod.UID)}
		return volumes[i].Prepare()
	})
	return volumes, err
}
