// Package rotation makes volumes hold the right files: it publishes them, keeps
// them, and hands what is mounted to whoever records it. The first mount is the
// first refresh. It knows no Kubernetes, CSI, gRPC or operating system: what it
// needs of those it asks through [Source], [Cluster] and [Files].
package rotation
