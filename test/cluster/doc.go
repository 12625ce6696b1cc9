// Command cluster brings up a real Kubernetes on this machine, for tests: etcd,
// the control plane and nodes with kubelet and containerd, without Docker. The
// first node has the control plane. Everything lives in namespaces of its own, each
// node in others, and in one run folder.
package main
