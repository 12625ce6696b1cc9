package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"time"

	v1 "github.com/strongroom/strongroom/api/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/ground/step"
)

const (
	// namespace is where all pods are.
	namespace = "strongroom-soak"
	// interval is the shortest that a class can have; content changes as often.
	interval = 5 * time.Second
	// look is the time between two looks at what is waited for.
	look = time.Second
	// patience is how long the end of something may take on a busy machine.
	patience = 3 * time.Minute
)

// soak is one run.
type soak struct {
	options

	api   client.Client
	pages *kubernetes.Clientset
	nodes []node
	log   *step.Log

	mu    sync.Mutex
	rng   *rand.Rand
	uids  map[string]bool // of all pods so far
	kills map[string]int  // of containers, by program and node
}

func newSoak(o options) (*soak, error) {
	if o.lasts <= 0 || o.pods <= 0 {
		return nil, errors.New("-for and -pods must be positive")
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, fmt.Errorf("read $KUBECONFIG: %w", err)
	}
	config.QPS, config.Burst = 200, 400
	config.Timeout = 10 * time.Second // an API server that was stopped answers nothing
	s := &soak{
		options: o, log: step.New(os.Stdout), uids: map[string]bool{}, kills: map[string]int{},
	}
	s.seeded(o.seed)
	scheme := runtime.NewScheme()
	if err = errors.Join(v1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return nil, err
	}
	if s.api, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, fmt.Errorf("make an API client: %w", err)
	}
	if s.pages, err = kubernetes.NewForConfig(config); err != nil {
		return nil, fmt.Errorf("make an API client: %w", err)
	}
	s.nodes, err = nodesOf(o.run)
	return s, err
}

// prepare leaves a namespace with two classes, and no reports.
func (s *soak) prepare(ctx context.Context) error {
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"secrets-store.csi.x-k8s.io/sync": "enabled"}}}
	if err := client.IgnoreNotFound(s.api.Delete(ctx, space.DeepCopy())); err != nil {
		return fmt.Errorf("delete namespace %s of an earlier run: %w", namespace, err)
	}
	if err := eventually(ctx, func() error { return s.api.Create(ctx, space.DeepCopy()) }); err != nil {
		return fmt.Errorf("create namespace %s: %w", namespace, err)
	}
	// No observer of an earlier run is left that could report.
	for _, n := range s.nodes {
		if err := os.RemoveAll(n.reports()); err != nil {
			return fmt.Errorf("remove the reports of an earlier run: %w", err)
		}
		// Observers are not root.
		if err := errors.Join(os.Mkdir(n.reports(), 0o700), os.Chmod(n.reports(), 0o777)); err != nil { //nolint:gosec // on a node of tests
			return fmt.Errorf("make a folder for reports: %w", err)
		}
	}
	observed := class("observed", "a", "b", "c")
	observed.Spec.Parameters["generations"] = interval.String()
	synced := class("synced", "foo")
	synced.Spec.SecretObjects = []*v1.SecretObject{{
		SecretName: "synced", Type: "Opaque", Data: []*v1.SecretObjectData{{ObjectName: "foo", Key: "foo"}},
	}}
	return errors.Join(s.api.Create(ctx, observed), s.api.Create(ctx, synced))
}

// class is one of the scripted provider.
func class(name string, objects ...string) *v1.SecretProviderClass {
	var list strings.Builder
	list.WriteString("array:\n")
	for _, o := range objects {
		list.WriteString("- |\n  objectName: " + o + "\n")
	}
	return &v1.SecretProviderClass{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: v1.SecretProviderClassSpec{
			Provider: "e2e-provider", Parameters: map[string]string{"objects": list.String()},
			Rotation: &v1.Rotation{Interval: interval.String()},
		},
	}
}

// seeded makes the random choices those of a seed.
func (s *soak) seeded(seed uint64) {
	s.rng = rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // they are to be made again
}

// between is a random time.
func (s *soak) between(least, most time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return least + time.Duration(s.rng.Int64N(int64(most-least)))
}

// eventually asks until there is no error, and returns the last one when patience is over.
func eventually(ctx context.Context, is func() error) error { return within(ctx, patience, is) }

// within does so for a time.
func within(ctx context.Context, most time.Duration, is func() error) error {
	deadline := time.Now().Add(most)
	for {
		err := is()
		if err == nil || ctx.Err() != nil || time.Now().After(deadline) {
			return err
		}
		wait(ctx, look)
	}
}

// wait is over early if ctx is.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// gone says whether an API call found nothing.
func gone(err error) bool { return apierrors.IsNotFound(err) }
