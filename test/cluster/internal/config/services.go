package config

import (
	"os/exec"
	"path/filepath"

	"github.com/strongroom/strongroom/test/internal/ground/process"
	"github.com/strongroom/strongroom/test/internal/plan"
)

// EtcdAddr is where etcd listens inside the first node.
const EtcdAddr = "127.0.0.1:2379"

const etcdURL = "http://" + EtcdAddr

// Etcd is the store of the API server. It forgets on a crash of the machine,
// and nobody minds.
func Etcd(c plan.Cluster) process.Service {
	return service(c, "etcd", filepath.Join(c.Bin, "etcd"),
		"--data-dir="+c.Run.Path("etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+etcdURL, "--advertise-client-urls="+etcdURL,
		"--listen-peer-urls=http://127.0.0.1:2380")
}

// APIServer listens on every address of the first node, among them the one of
// the service "kubernetes": pods reach it without kube-proxy. Its audiences
// stay the default ones, as on a user's cluster.
func APIServer(c plan.Cluster) process.Service {
	return service(c, "kube-apiserver", filepath.Join(c.Bin, "kube-apiserver"),
		"--etcd-servers="+etcdURL, "--bind-address=0.0.0.0", "--secure-port=443",
		"--advertise-address="+c.Node(1).Addr().String(), "--endpoint-reconciler-type=none",
		"--service-cluster-ip-range="+c.Services().String(),
		"--tls-cert-file="+c.PKI("apiserver.crt"), "--tls-private-key-file="+c.PKI("apiserver.key"),
		"--client-ca-file="+c.PKI("ca.crt"),
		"--kubelet-client-certificate="+c.PKI("kubelet-client.crt"),
		"--kubelet-client-key="+c.PKI("kubelet-client.key"),
		"--kubelet-certificate-authority="+c.PKI("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file="+c.PKI("sa.crt"), "--service-account-signing-key-file="+c.PKI("sa.key"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins="+c.Plugins(),
		"--audit-policy-file="+auditPolicy(c), "--audit-log-path="+c.Audit(), "--audit-log-maxsize=0", // one file for ever
		"--allow-privileged=true", "--event-ttl=1h")
}

// Controllers is the controller manager.
func Controllers(c plan.Cluster) process.Service {
	return service(c, "kube-controller-manager", filepath.Join(c.Bin, "kube-controller-manager"),
		"--kubeconfig="+c.PKI("controllers.kubeconfig"), "--bind-address=127.0.0.1", "--leader-elect=false",
		"--use-service-account-credentials=true", "--root-ca-file="+c.PKI("ca.crt"),
		"--service-account-private-key-file="+c.PKI("sa.key"),
		"--cluster-signing-cert-file="+c.PKI("ca.crt"), "--cluster-signing-key-file="+c.PKI("ca.key"))
}

// Scheduler is the scheduler.
func Scheduler(c plan.Cluster) process.Service {
	return service(c, "kube-scheduler", filepath.Join(c.Bin, "kube-scheduler"),
		"--kubeconfig="+c.PKI("scheduler.kubeconfig"), "--bind-address=127.0.0.1", "--leader-elect=false")
}

// Containerd runs the node's containers.
func Containerd(n plan.Node) process.Service {
	return service(n.Cluster, n.Name()+"-containerd", program("containerd"), "--config="+n.Dir("containerd.toml"))
}

// Kubelet is the node's agent.
func Kubelet(n plan.Node) process.Service {
	return service(n.Cluster, n.Name()+"-kubelet", filepath.Join(n.Bin, "kubelet"),
		"--config="+n.Dir("kubelet.yaml"), "--kubeconfig="+n.Dir("kubeconfig"),
		"--hostname-override="+n.Name(), "--node-ip="+n.Addr().String())
}

func service(c plan.Cluster, name string, args ...string) process.Service {
	return process.Service{Name: name, Args: args, Log: c.Logs(name)}
}

func program(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return name
}
