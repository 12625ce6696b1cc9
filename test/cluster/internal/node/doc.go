// Package node runs a node in namespaces of its own. Its first process is
// process 1 of a process namespace: when that one dies, for whatever reason,
// the kernel ends every process of the node and takes its mounts and its
// network away. The machine around it is not changed.
package node
