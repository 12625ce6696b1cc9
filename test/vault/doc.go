// Command vault runs a real Vault on this machine, for tests: raft storage,
// TLS, an audit log, engines for key/value data of both versions, for databases
// (with a real PostgreSQL beside it), certificates and transit, and auth
// methods kubernetes, jwt, approle and cert, the first two against the test
// cluster or the cluster of $KUBECONFIG.
package main
