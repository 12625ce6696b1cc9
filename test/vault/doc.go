// Command vault runs a real Vault on this machine, for tests: raft storage,
// TLS, key/value engines of both versions, an audit log, and Kubernetes auth
// against the test cluster or the cluster of $KUBECONFIG.
package main
