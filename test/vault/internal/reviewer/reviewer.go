package reviewer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const manifest = `
apiVersion: v1
kind: Namespace
metadata: {name: vault-reviewer}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: vault, namespace: vault-reviewer}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: vault-reviewer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:auth-delegator"}
subjects: [{kind: ServiceAccount, name: vault, namespace: vault-reviewer}]
---
# JWT auth fetches the public keys of service accounts, and it cannot log in for that.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: vault-issuer-discovery}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:service-account-issuer-discovery"}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: "system:unauthenticated"}]
`

// Cluster is the cluster whose tokens Vault shall accept.
type Cluster struct {
	Kubectl    string
	Kubeconfig string
	Cache      string // folder for kubectl
}

// Access is what Vault needs to ask the API server.
type Access struct {
	Host, CA, Token string
}

// Access creates the service account, if need be, and returns its token and
// where the API server is.
func (c Cluster) Access(ctx context.Context) (Access, error) {
	a, err := c.server(ctx)
	if err != nil {
		return a, err
	}
	if _, err = c.run(ctx, manifest, "apply", "--filename=-"); err != nil {
		return a, err
	}
	a.Token, err = c.token(ctx)
	return a, err
}

// token makes one that outlives every test.
func (c Cluster) token(ctx context.Context) (string, error) {
	out, err := c.run(ctx, "", "create", "token", "vault", "--namespace=vault-reviewer", "--duration=8760h")
	return strings.TrimSpace(string(out)), err
}

func (c Cluster) server(ctx context.Context) (Access, error) {
	out, err := c.run(ctx, "", "config", "view", "--minify", "--raw", "--flatten", "--output=json")
	if err != nil {
		return Access{}, err
	}
	var view struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
				CA     []byte `json:"certificate-authority-data"`
			} `json:"cluster"`
		} `json:"clusters"`
	}
	if err := json.Unmarshal(out, &view); err != nil {
		return Access{}, fmt.Errorf("read %s: %w", c.Kubeconfig, err)
	}
	if len(view.Clusters) == 0 {
		return Access{}, fmt.Errorf("read %s: it names no cluster", c.Kubeconfig)
	}
	cl := view.Clusters[0].Cluster
	return Access{Host: cl.Server, CA: string(cl.CA)}, nil
}

func (c Cluster) run(ctx context.Context, stdin string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, c.Kubectl, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig, "KUBECACHEDIR="+c.Cache)
	cmd.Stdin = strings.NewReader(stdin)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("kubectl %s: %w: %s", args[0], err, bytes.TrimSpace(complaints.Bytes()))
	}
	return out.Bytes(), nil
}
