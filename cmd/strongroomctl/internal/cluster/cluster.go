package cluster

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	v1 "github.com/strongroom/strongroom/api/v1"
)

// requestTimeout bounds one request: a person waits.
const requestTimeout = 20 * time.Second

// Options say which cluster.
type Options struct{ kubeconfig, context string }

// Flags adds those that choose a cluster.
func Flags(fs *flag.FlagSet) *Options {
	o := &Options{}
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "path of a kubeconfig (default: $KUBECONFIG or ~/.kube/config)")
	fs.StringVar(&o.context, "context", "", "context of the kubeconfig (default: the current one)")
	return o
}

// Cluster is one that can be asked.
type Cluster struct {
	client.Client

	raw *rest.RESTClient
}

// Open makes no request.
func (o *Options) Open() (*Cluster, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = o.kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.context}).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("find a cluster: %w; give --kubeconfig, or set KUBECONFIG", err)
	}
	return New(config)
}

// New is Open for a configuration that is known.
func New(from *rest.Config) (*Cluster, error) {
	ctrllog.SetLogger(klog.Background())
	config := rest.CopyConfig(from)
	config.UserAgent, config.QPS, config.Timeout = "strongroomctl", -1, requestTimeout
	config.WarningHandlerWithContext = rest.NoWarnings{}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		v1.AddToScheme, corev1.AddToScheme, storagev1.AddToScheme, appsv1.AddToScheme, authorizationv1.AddToScheme, admissionv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("make scheme: %w", err)
		}
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make the API client: %w", err)
	}
	config.GroupVersion, config.APIPath = &corev1.SchemeGroupVersion, "/api"
	config.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	raw, err := rest.RESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("make the API client: %w", err)
	}
	return &Cluster{Client: c, raw: raw}, nil
}

// Version is that of the API server.
func (c *Cluster) Version(ctx context.Context) (string, error) {
	data, err := c.raw.Get().AbsPath("/version").DoRaw(ctx)
	if err != nil {
		return "", fmt.Errorf("ask the API server for its version: %w", err)
	}
	var version struct {
		GitVersion string `json:"gitVersion"`
	}
	return version.GitVersion, json.Unmarshal(data, &version)
}

// Page is what a pod serves at a port, also if it is an error.
func (c *Cluster) Page(ctx context.Context, pod *corev1.Pod, port, path string) (string, error) {
	data, err := c.raw.Get().Namespace(pod.Namespace).Resource("pods").Name(pod.Name + ":" + port).SubResource("proxy").Suffix(path).DoRaw(ctx)
	if err != nil && (len(data) == 0 || strings.HasPrefix(string(data), `{"kind":"Status"`)) {
		return "", fmt.Errorf("get %s of pod %s/%s: %w", path, pod.Namespace, pod.Name, err)
	}
	return string(data), nil
}
