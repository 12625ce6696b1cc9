// Package image makes the images that a node has from the start, out of a
// static busybox, and brings images into a node's containerd. The node has no
// registry to pull from.
package image
