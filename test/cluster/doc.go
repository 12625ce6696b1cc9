// Command cluster brings up a real Kubernetes on this machine, for tests: etcd,
// the control plane and one node with kubelet and containerd, without Docker.
// Everything lives in namespaces of its own and in one run folder.
package main
