package config

import (
	"fmt"
	"os"

	"github.com/strongroom/strongroom/test/internal/plan"
)

// Write makes every file that the components of the cluster need.
func Write(c plan.Cluster) error {
	for _, dir := range []string{c.Run.Path("log"), c.Run.Path("etcd")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := credentials(c); err != nil {
		return err
	}
	files := map[string]string{auditPolicy(c): audit}
	for _, n := range c.Nodes() {
		files[n.Dir("containerd.toml")] = containerd(n)
		files[n.Dir("cni", "10-bridge.conflist")] = network(n)
		files[n.Dir("kubelet.yaml")] = kubelet(n)
		files[n.Dir("resolv.conf")] = "nameserver 127.0.0.1\n"
	}
	for path, text := range files {
		if err := write(path, text); err != nil {
			return err
		}
	}
	return nil
}

func auditPolicy(c plan.Cluster) string { return c.Run.Path("audit.yaml") }

// audit has every write, and the reads of service accounts, so that a test can
// count them: one line for a request. That of a watch is written when it begins,
// any other when it is answered.
const audit = `
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  userGroups: ["system:serviceaccounts"]
  verbs: [watch]
  omitStages: [ResponseComplete]
- level: Metadata
  userGroups: ["system:serviceaccounts"]
  omitStages: [ResponseStarted]
- level: None
  verbs: [get, list, watch, head, options]
- level: Metadata
  omitStages: [ResponseStarted]
`

// restrict_oom_score_adj: without it runc dies where CAP_SYS_RESOURCE lacks.
// disable_apparmor: profiles would be loaded for the whole machine.
func containerd(n plan.Node) string {
	return fmt.Sprintf(`
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
temp = "/run/tmp"
[grpc]
  address = %q
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
`, plan.Containerd, plan.PauseImage, plan.CNI(), n.Dir("cni"))
}

func network(n plan.Node) string {
	return fmt.Sprintf(`{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [{
    "type": "bridge",
    "bridge": "pods",
    "isGateway": true,
    "hairpinMode": true,
    "ipam": {
      "type": "host-local",
      "dataDir": "/run/cni",
      "ranges": [[{"subnet": %q}]],
      "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
`, n.Pods())
}

// kubelet keeps every image and evicts almost never: the disk is shared with
// the machine, and how full that is must not change what a test sees.
func kubelet(n plan.Node) string {
	return fmt.Sprintf(`
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: %q}
authorization: {mode: Webhook}
tlsCertFile: %q
tlsPrivateKeyFile: %q
containerRuntimeEndpoint: "unix://%s"
cgroupDriver: cgroupfs
cgroupRoot: "/%s"
failCgroupV1: false
failSwapOn: false
localStorageCapacityIsolation: false
evictionHard: {memory.available: 1Mi, nodefs.available: 1Mi, imagefs.available: 1Mi}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
clusterDNS: [127.0.0.1] # there is none: names fail at once, without a warning for every pod
resolvConf: %q
volumePluginDir: /var/lib/kubelet/volumeplugins
syncFrequency: 10s
nodeStatusUpdateFrequency: 5s
logging: {verbosity: 2}
`, n.PKI("ca.crt"), n.Dir("kubelet.crt"), n.Dir("kubelet.key"), plan.Containerd, n.Cgroup(), n.Dir("resolv.conf"))
}
