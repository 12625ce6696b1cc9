// Command image writes a container image of one static binary as a tar that
// containerd, kind and docker can load. It needs no Docker, and the same binary
// gives the same bytes.
package main
