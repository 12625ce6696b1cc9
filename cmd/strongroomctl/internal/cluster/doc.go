// Package cluster reaches the cluster that the user's kubeconfig names, and knows which DaemonSets
// there are drivers and providers. It reads no Secret.
package cluster
