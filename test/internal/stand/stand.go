package stand

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/strongroom/strongroom/api/v1"
	"golang.org/x/sys/unix"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"
)

const startTimeout = 2 * time.Minute // of an API server on a busy machine

// Cluster is an API server with the CRDs, and a namespace with classes.
type Cluster struct {
	API    client.WithWatch
	Config *rest.Config

	env    *envtest.Environment
	user   *api.AuthInfo // of drivers; nil for the administrator
	parent *parent
}

// Start starts the API server of root's CRDs, from the binaries of test/cluster.
func Start(ctx context.Context, root string) (*Cluster, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	c := &Cluster{parent: newParent(), env: &envtest.Environment{
		BinaryAssetsDirectory:    bin,
		CRDDirectoryPaths:        []string{filepath.Join(root, "manifests/base/crds")},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: startTimeout,
	}}
	c.env.ControlPlane.GetAPIServer().Configure().Set("advertise-address", "127.0.0.1") // there is no other
	if c.Config, err = c.env.Start(); err != nil {
		return nil, fmt.Errorf("start the API server: %w", err)
	}
	c.Config.QPS = -1
	if err = c.furnish(ctx, root); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// furnish makes a client, and the CSIDriver object of the manifests.
func (c *Cluster) furnish(ctx context.Context, root string) (err error) {
	scheme := runtime.NewScheme()
	if err = errors.Join(v1.AddToScheme(scheme), authenticationv1.AddToScheme(scheme), corev1.AddToScheme(scheme), storagev1.AddToScheme(scheme)); err != nil {
		return err
	}
	if c.API, err = client.NewWithWatch(c.Config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("make an API client: %w", err)
	}
	data, err := os.ReadFile(filepath.Join(root, "manifests/base/csidriver.yaml"))
	if err != nil {
		return fmt.Errorf("read the CSIDriver object: %w", err)
	}
	var driver storagev1.CSIDriver
	if err := yaml.UnmarshalStrict(data, &driver); err != nil {
		return fmt.Errorf("parse the CSIDriver object: %w", err)
	}
	driver.Spec.TokenRequests = []storagev1.TokenRequest{{Audience: "vault"}, {Audience: "api://AzureADTokenExchange"}}
	return c.API.Create(ctx, &driver)
}

// Binary is the path of a program that make ground builds.
func Binary(name string) (string, error) {
	bin, err := binaries()
	if err != nil {
		return "", err
	}
	return filepath.Join(bin, name), nil
}

func binaries() (string, error) {
	cache := os.Getenv("STRONGROOM_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		cache = filepath.Join(home, ".cache", "strongroom")
	}
	bin := filepath.Join(cache, "bin")
	if _, err := os.Stat(filepath.Join(bin, "kube-apiserver")); err != nil {
		return "", fmt.Errorf("look for Kubernetes, which make ground builds: %w", err)
	}
	return bin, nil
}

// Stop stops the API server. No process can be started on its nodes any more.
func (c *Cluster) Stop() error {
	close(c.parent.jobs)
	return c.env.Stop()
}

// Namespace makes a namespace.
func (c *Cluster) Namespace(ctx context.Context, name string) error {
	err := c.API.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	return client.IgnoreAlreadyExists(err)
}

// Class makes a class of the scripted provider, or of another one.
func (c *Cluster) Class(ctx context.Context, key client.ObjectKey, provider string, objects ...string) error {
	var list strings.Builder
	fmt.Fprintln(&list, "array:")
	for _, name := range objects {
		fmt.Fprintf(&list, "- |\n  objectName: %s\n", name)
	}
	return c.API.Create(ctx, &v1.SecretProviderClass{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
		Spec:       v1.SecretProviderClassSpec{Provider: v1.Provider(provider), Parameters: map[string]string{"objects": list.String()}},
	})
}

// StoreClass makes a class of the provider of a store.
func (c *Cluster) StoreClass(ctx context.Context, key client.ObjectKey, provider string, parameters map[string]string) error {
	return c.API.Create(ctx, &v1.SecretProviderClass{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
		Spec:       v1.SecretProviderClassSpec{Provider: v1.Provider(provider), Parameters: parameters},
	})
}

// Node is a folder with what a driver needs of its node. Its pods folder is a mount of
// its own that is shared, as a node's is.
type Node struct {
	Dir string

	parent *parent
}

// NewNode makes a node in a folder of its own.
func (c *Cluster) NewNode(name string) (Node, error) {
	n := Node{Dir: filepath.Join(Memory, name), parent: c.parent}
	for _, dir := range []string{n.pods(), n.providers()} {
		if err := os.MkdirAll(dir, 0o750); err != nil {
			return n, fmt.Errorf("make a node: %w", err)
		}
	}
	if err := unix.Mount(n.pods(), n.pods(), "", unix.MS_BIND, ""); err != nil {
		return n, fmt.Errorf("mount the pods folder: %w", err)
	}
	if err := unix.Mount("", n.pods(), "", unix.MS_SHARED, ""); err != nil {
		return n, fmt.Errorf("share the pods folder: %w", err)
	}
	kubeconfig, err := c.login()
	if err != nil {
		return n, err
	}
	return n, os.WriteFile(n.kubeconfig(), kubeconfig, 0o600)
}

// Remove removes the node's folder.
func (n Node) Remove() error {
	if err := unix.Unmount(n.pods(), unix.MNT_DETACH); err != nil {
		return fmt.Errorf("unmount the pods folder: %w", err)
	}
	return os.RemoveAll(n.Dir)
}

// Socket is the path of the CSI socket.
func (n Node) Socket() string { return filepath.Join(n.Dir, "csi.sock") }

func (n Node) pods() string       { return filepath.Join(n.Dir, "pods") }
func (n Node) providers() string  { return filepath.Join(n.Dir, "providers") }
func (n Node) kubeconfig() string { return filepath.Join(n.Dir, "kubeconfig") }
