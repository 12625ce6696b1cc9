// Package kube is Kubernetes as volumes see it: classes are read, what is mounted
// is recorded. It caches no content, and reads no Secret.
package kube
