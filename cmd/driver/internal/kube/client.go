package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// requestTimeout bounds one request to the API server, but for the watch.
const requestTimeout = 15 * time.Second

// Cluster reads classes and records what is mounted on one node.
type Cluster struct {
	client     client.WithWatch
	node       string
	driverName string
	asked      atomic.Bool // a lookup has been answered
	driver     csiDriver
	lookups    *lookups
	comeBack   time.Duration // over which nodes watch again after a gap
	catchUp    time.Duration // over which used classes are read again after that
}

var _ rotation.Cluster = (*Cluster)(nil)

// Config configures a Cluster.
type Config struct {
	API *rest.Config
	// Node is the name of this node, DriverName that of the CSIDriver object.
	Node, DriverName string
	UserAgent        string
	// ContentHashKeyFile holds the key of content hashes; "" for none on filled Secrets.
	ContentHashKeyFile string
}

// api is how the API server is reached, and the kinds that are used there.
func (cfg Config) api() (*rest.Config, *runtime.Scheme, error) {
	config := rest.CopyConfig(cfg.API)
	config.UserAgent = cfg.UserAgent
	config.QPS = -1 // the API server knows better: its priority and fairness
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1.AddToScheme, storagev1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, nil, fmt.Errorf("make scheme: %w", err)
		}
	}
	return config, scheme, nil
}

// New returns the Cluster of a node. It makes no request.
func New(cfg Config) (*Cluster, error) {
	config, scheme, err := cfg.api()
	if err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme, Mapper: mapper()})
	if err != nil {
		return nil, fmt.Errorf("make the API client: %w", err)
	}
	return &Cluster{
		client: c, node: cfg.Node, driverName: cfg.DriverName, lookups: newLookups(), driver: newCSIDriver(), comeBack: comeBack, catchUp: time.Minute,
	}, nil
}

// Class returns a class of a namespace, as it is now.
func (c *Cluster) Class(ctx context.Context, namespace, name string) (rotation.Class, error) {
	class, err := c.lookups.do(ctx, rotation.ClassName{Namespace: namespace, Name: name}, c.get)
	if err != nil {
		return rotation.Class{}, provider.Errorf(kindOf(err), "%w", err)
	}
	return class, nil
}

func (c *Cluster) get(ctx context.Context, name rotation.ClassName) (rotation.Class, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	var class v1.SecretProviderClass
	if err := c.client.Get(ctx, client.ObjectKey{Namespace: name.Namespace, Name: name.Name}, &class); err != nil {
		return rotation.Class{}, err
	}
	return asClass(&class), nil
}

// maxRefresh is what a volume remembers of the refresh annotation, in bytes.
const maxRefresh = 256

func refreshOf(class metav1.Object) string {
	return cut(class.GetAnnotations()[v1.RefreshAnnotation], maxRefresh)
}

func asClass(class *v1.SecretProviderClass) rotation.Class {
	c := rotation.Class{
		UID: string(class.UID), Generation: class.Generation, Refresh: refreshOf(class),
		Provider: string(class.Spec.Provider), Parameters: class.Spec.Parameters,
	}
	if r := class.Spec.Rotation; r != nil {
		c.Never = r.Mode == v1.RotationNever
		c.Interval, _ = time.ParseDuration(r.Interval) // the API server has checked it; none is the driver's
	}
	for _, s := range class.Spec.SecretObjects {
		if s == nil {
			continue
		}
		object := rotation.SecretObject{Name: strings.TrimSpace(s.SecretName), Type: s.Type, Labels: s.Labels, Annotations: s.Annotations}
		for _, d := range s.Data {
			if d != nil {
				object.Data = append(object.Data, rotation.SecretKey{File: d.ObjectName, Key: d.Key})
			}
		}
		c.Secrets = append(c.Secrets, object)
	}
	return c
}

// Reachable says whether classes could be looked up since the start. It asks until
// that is so, and then no more: what fails later, publishes show.
func (c *Cluster) Reachable(ctx context.Context) error {
	if c.asked.Load() {
		return nil
	}
	// A name that no class can have: the answer is small, and needs the same rights.
	err := c.client.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "strongroom-readiness-probe"}, &v1.SecretProviderClass{})
	if err == nil || apierrors.IsNotFound(err) && isObjectMissing(err) {
		c.asked.Store(true)
		return nil
	}
	return fmt.Errorf("look up a secretproviderclass: %w", err)
}

// isObjectMissing tells a missing object from a missing CRD: both are "not found".
func isObjectMissing(err error) bool {
	status, ok := err.(apierrors.APIStatus)
	return ok && status.Status().Details != nil && status.Status().Details.Name != ""
}

func kindOf(err error) provider.Kind {
	switch {
	case apierrors.IsNotFound(err):
		return provider.NotFound
	case apierrors.IsForbidden(err), apierrors.IsUnauthorized(err):
		return provider.Denied
	case apierrors.IsTooManyRequests(err):
		return provider.Throttled
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return provider.Timeout
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return provider.Invalid
	}
	return provider.Unavailable
}
