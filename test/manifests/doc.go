// Package manifests holds tests of what the manifests give to whom: the rights of every
// service account, and what every container may do on its node. It has no code.
package manifests
