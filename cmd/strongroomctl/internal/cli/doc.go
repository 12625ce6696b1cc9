// Package cli is what the commands of strongroomctl share: how arguments are read, how results
// are printed, and what the exit code says. It knows no command and no cluster.
package cli
