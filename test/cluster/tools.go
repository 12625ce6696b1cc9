package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/strongroom/strongroom/test/internal/ground/build"
	"github.com/strongroom/strongroom/test/internal/ground/debian"
	"github.com/strongroom/strongroom/test/internal/plan"
)

// version is of the Kubernetes modules in kubernetes/go.mod. A build from
// modules does not know it by itself.
const version = "1.36.3"

func (t *tool) packages(ctx context.Context) error {
	return debian.Need(ctx, t.log,
		debian.Package{Name: "containerd", Proof: "containerd"},
		debian.Package{Name: "runc", Proof: "runc"},
		debian.Package{Name: "containernetworking-plugins", Proof: filepath.Join(plan.CNI(), "bridge")},
		debian.Package{Name: "busybox-static", Proof: "busybox"},
		debian.Package{Name: "iproute2", Proof: "ip"},
		debian.Package{Name: "iptables", Proof: "iptables"},
		debian.Package{Name: "jq", Proof: "jq"},
		debian.Package{Name: "bats", Proof: "bats"},
	)
}

func (t *tool) build(ctx context.Context) error {
	_, err := t.binaries(ctx)
	return err
}

func (t *tool) binaries(ctx context.Context) (*build.Cache, error) {
	cache, err := build.Open(t.log)
	if err != nil {
		return nil, err
	}
	return cache, cache.Need(ctx,
		build.Set{
			Name: "kubernetes", Module: "cluster/kubernetes",
			Binaries: []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl", "kube-proxy"},
			Args:     []string{"install", "-trimpath", "-ldflags", linkFlags(), "tool"},
		},
		build.Set{
			Name: "etcd", Module: "cluster/etcd", Binaries: []string{"etcd"},
			Args: []string{"build", "-trimpath", "-ldflags", "-s -w", "-o", "@BIN/etcd", "go.etcd.io/etcd/server/v3"},
		})
}

func linkFlags() string {
	numbers := strings.Split(version, ".")
	var b strings.Builder
	b.WriteString("-s -w")
	for _, pkg := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		b.WriteString(" -X " + pkg + ".gitVersion=v" + version)
		b.WriteString(" -X " + pkg + ".gitMajor=" + numbers[0])
		b.WriteString(" -X " + pkg + ".gitMinor=" + numbers[1])
	}
	return b.String()
}

// kubectl runs the cached kubectl against a cluster.
func kubectl(ctx context.Context, c plan.Cluster, args ...string) (string, error) {
	args = append([]string{"--kubeconfig=" + c.Kubeconfig(), "--cache-dir=" + c.Run.Path("kubectl")}, args...)
	cmd := exec.CommandContext(ctx, filepath.Join(c.Bin, "kubectl"), args...) //nolint:gosec // our own run folder says which
	out, err := cmd.CombinedOutput()
	return string(bytes.TrimSpace(out)), err
}

// lastLogs returns the last line that each node's first process wrote.
func lastLogs(c plan.Cluster) string {
	var all []string
	for _, n := range c.Nodes() {
		all = append(all, n.Name()+": "+lastLog(n))
	}
	return strings.Join(all, "; ")
}

func lastLog(n plan.Node) string {
	b, err := os.ReadFile(n.Logs(n.Name() + "-init"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
