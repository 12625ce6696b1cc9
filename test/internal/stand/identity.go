package stand

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/strongroom/strongroom/api/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// NodeID is the name of the node that every driver is told it is on.
const NodeID = "n1"

const (
	account    = "secrets-store-csi-driver"
	ownSpace   = "kube-system"
	tokenLives = 4 * time.Hour // longer than any run
)

// Restrict gives drivers of nodes that are made later the identity of the driver's pod,
// with the rights and under the admission policies of root's manifests. Without it they
// are administrators.
func (c *Cluster) Restrict(ctx context.Context, root string) error {
	for _, file := range []string{"base/rbac.yaml", "base/policy.yaml", "components/sync-secrets/rbac.yaml", "components/sync-secrets/policy.yaml"} {
		if err := c.apply(ctx, filepath.Join(root, "manifests", file)); err != nil {
			return err
		}
	}
	token, err := c.token(ctx)
	if err != nil {
		return err
	}
	config := rest.AnonymousClientConfig(c.Config)
	config.BearerToken = token
	driver, err := client.New(config, client.Options{Scheme: c.API.Scheme()})
	if err != nil {
		return fmt.Errorf("make the driver's API client: %w", err)
	}
	if err := awaitPolicies(ctx, driver); err != nil {
		return fmt.Errorf("wait until the admission policies count: %w", err)
	}
	c.user = &api.AuthInfo{Token: token}
	return nil
}

// apply makes what is in a file of manifests.
func (c *Cluster) apply(ctx context.Context, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read manifests: %w", err)
	}
	documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(data), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := documents.Decode(object)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil && len(object.Object) > 0 {
			err = c.API.Create(ctx, object)
		}
		if err != nil {
			return fmt.Errorf("apply %s: %w", file, err)
		}
	}
}

// token returns one of a pod of the driver that is on the node.
func (c *Cluster) token(ctx context.Context) (string, error) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: ownSpace, Name: "driver"},
		Spec: corev1.PodSpec{
			NodeName: NodeID, ServiceAccountName: account, Containers: []corev1.Container{{Name: "main", Image: "none"}},
		},
	}
	if err := c.API.Create(ctx, pod); err != nil {
		return "", fmt.Errorf("make a pod of the driver: %w", err)
	}
	seconds := int64(tokenLives.Seconds())
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	owner := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ownSpace, Name: account}}
	if err := c.API.SubResource("token").Create(ctx, owner, request); err != nil {
		return "", fmt.Errorf("make a token of the driver: %w", err)
	}
	return request.Status.Token, nil
}

// awaitPolicies waits until each policy denies the driver what it is to deny. The API server
// learns of them only after a while.
func awaitPolicies(ctx context.Context, driver client.Client) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	meta := metav1.ObjectMeta{Namespace: "default", Name: "probe"} // a namespace that fills no Secret
	for kind, object := range map[string]func() client.Object{
		"Secret": func() client.Object { return &corev1.Secret{ObjectMeta: meta} },
		"SyncedSecret": func() client.Object {
			return &v1.SyncedSecret{ObjectMeta: meta, Spec: v1.SyncedSecretSpec{SecretProviderClassName: "probe"}}
		},
		"SecretProviderClassPodStatus": func() client.Object { return &v1.SecretProviderClassPodStatus{ObjectMeta: meta} },
	} {
		for {
			err := driver.Create(ctx, object(), client.DryRunAll)
			if err != nil && strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("a %s is not denied: %w", kind, err)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// Behind has the node's drivers reach the API server through a gate.
func (n Node) Behind(g *Gate) error {
	config, err := clientcmd.LoadFromFile(n.kubeconfig())
	if err != nil {
		return fmt.Errorf("read the node's kubeconfig: %w", err)
	}
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + g.Addr()
	}
	return clientcmd.WriteToFile(*config, n.kubeconfig())
}

// login returns the kubeconfig of a driver.
func (c *Cluster) login() ([]byte, error) {
	config, err := clientcmd.Load(c.env.KubeConfig)
	if err != nil {
		return nil, fmt.Errorf("read the administrator's kubeconfig: %w", err)
	}
	if c.user != nil {
		for name := range config.AuthInfos {
			config.AuthInfos[name] = c.user
		}
	}
	return clientcmd.Write(*config)
}
