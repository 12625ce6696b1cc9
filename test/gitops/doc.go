// Package gitops tests the examples for Flux and Argo CD: what they deploy, and the
// health checks in them, on objects as a driver writes them. It runs neither of the two.
package gitops
