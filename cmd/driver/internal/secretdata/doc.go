// Package secretdata makes the data of a Kubernetes Secret from the files of a volume.
// It reads and writes nothing, and no error of it contains what a file holds.
package secretdata
