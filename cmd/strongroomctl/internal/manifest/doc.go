// Package manifest finds the classes in YAML and JSON as kubectl, Helm and Kustomize write it, and
// knows where in the text each part of them stands. It judges none of them.
package manifest
