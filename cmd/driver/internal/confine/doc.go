// Package confine takes from the driver's process what it does not need. Kubernetes
// gives a privileged container everything and ignores what the manifest drops.
package confine
