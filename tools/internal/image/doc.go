// Package image makes a container image of one static binary, without Docker. The same
// input gives the same bytes. It reads files of this machine and pushes nothing.
package image
