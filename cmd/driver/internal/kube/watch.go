package kube

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	watchtools "k8s.io/client-go/tools/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/pkg/rotation"
)

// The pace of watching classes. An API server that was started again has no history:
// the watches of all nodes end in the same second, and come back over comeBack.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
	comeBack   = 30 * time.Second
)

// Users is who uses classes; [rotation.Volumes] is one.
type Users interface {
	Classes() []rotation.ClassName
	ClassChanged(name rotation.ClassName, t rotation.Told)
}

// Watch tells users of every change of a class until ctx ends. One watch of metadata
// serves the node; nothing is listed. At its begin, and after a gap as it is when the
// API server was away for long, the classes in use are read again.
func (c *Cluster) Watch(ctx context.Context, users Users, log *slog.Logger) error {
	wait := firstRetry
	for {
		start := time.Now()
		err := c.watchOnce(ctx, users)
		if ctx.Err() != nil {
			return nil //nolint:nilerr // told to stop
		}
		log.LogAttrs(ctx, slog.LevelWarn, "watch classes: will start again", slog.String("err", err.Error()))
		if time.Since(start) > lastRetry {
			wait = firstRetry
		}
		pause(ctx, c.untilNext(err, wait))
		wait = min(2*wait, lastRetry)
	}
}

// untilNext is for how long nothing is watched after an error. Nobody who mounts waits
// for that: classes are looked up by themselves.
func (c *Cluster) untilNext(err error, wait time.Duration) time.Duration {
	if apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return rand.N(c.comeBack) //nolint:gosec // jitter needs no secrecy
	}
	return wait + rand.N(wait) //nolint:gosec // jitter needs no secrecy
}

// watchOnce watches from now on until that is no longer possible.
func (c *Cluster) watchOnce(ctx context.Context, users Users) error {
	from, err := c.now(ctx)
	if err != nil {
		return fmt.Errorf("find where to start: %w", err)
	}
	w, err := watchtools.NewRetryWatcherWithContext(ctx, from, classWatcher{c.client})
	if err != nil {
		return err
	}
	defer w.Stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()             // the next watch reads again by itself
	go c.readAgain(ctx, users) // for changes before now, also those while no driver ran
	for event := range w.ResultChan() {
		if event.Type == watch.Error {
			return fmt.Errorf("watch: %w", apierrors.FromObject(event.Object))
		}
		tell(users, event)
	}
	return errors.New("the watch ended")
}

// now is the version of all classes as they are; it reads one of them at most.
func (c *Cluster) now(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list := classMetadata()
	err := c.client.List(ctx, list, client.Limit(1))
	return list.ResourceVersion, err
}

func tell(users Users, event watch.Event) {
	class, ok := event.Object.(*metav1.PartialObjectMetadata)
	if !ok {
		return
	}
	name := rotation.ClassName{Namespace: class.Namespace, Name: class.Name}
	switch event.Type {
	case watch.Added, watch.Modified:
		users.ClassChanged(name, toldOf(class))
	case watch.Deleted:
		users.ClassChanged(name, rotation.Told{})
	case watch.Bookmark, watch.Error:
	}
}

func toldOf(class *metav1.PartialObjectMetadata) rotation.Told {
	return rotation.Told{UID: string(class.UID), Generation: class.Generation, Refresh: refreshOf(class)}
}

// readAgain looks up every class in use, spread over a minute, from the API server's
// own cache. Those that cannot be read come once more at the end, until all were.
func (c *Cluster) readAgain(ctx context.Context, users Users) {
	names := users.Classes()
	over := c.catchUp
	for len(names) > 0 {
		var failed []rotation.ClassName
		for _, name := range names {
			pause(ctx, rand.N(2*over/time.Duration(len(names)))) //nolint:gosec // jitter needs no secrecy
			if ctx.Err() != nil {
				return
			}
			class, err := c.metadata(ctx, name)
			switch {
			case err == nil:
				users.ClassChanged(name, toldOf(class))
			case apierrors.IsNotFound(err) && isObjectMissing(err):
				users.ClassChanged(name, rotation.Told{})
			default:
				failed = append(failed, name)
			}
		}
		names, over = failed, max(over, firstRetry)
	}
}

func (c *Cluster) metadata(ctx context.Context, name rotation.ClassName) (*metav1.PartialObjectMetadata, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	class := &metav1.PartialObjectMetadata{}
	class.SetGroupVersionKind(v1.GroupVersion.WithKind("SecretProviderClass"))
	err := c.client.Get(ctx, client.ObjectKey{Namespace: name.Namespace, Name: name.Name}, class,
		&client.GetOptions{Raw: &metav1.GetOptions{ResourceVersion: "0"}})
	return class, err
}

func classMetadata() *metav1.PartialObjectMetadataList {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1.GroupVersion.WithKind("SecretProviderClassList"))
	return list
}

// classWatcher gives the watcher of client-go the metadata of classes.
type classWatcher struct{ client client.WithWatch }

// WatchWithContext implements the interface of that watcher.
func (w classWatcher) WatchWithContext(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
	return w.client.Watch(ctx, classMetadata(), &client.ListOptions{Raw: &options})
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
