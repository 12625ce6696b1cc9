// Package cgroup makes and removes the cgroup below which a node keeps its
// pods, in every hierarchy of the machine, old and new.
package cgroup
