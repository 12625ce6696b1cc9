// Package kube is what the Vault provider needs of Kubernetes: the key of object
// versions, and a token for a pod that kubelet sent none for. It never reads or
// writes anything else there.
package kube
