// Package stand puts the released driver to a test outside of a cluster: a real API
// server, the scripted provider and the driver as processes, and a client that calls
// as kubelet does. All of it lives in namespaces of its own, and ends with them.
package stand
