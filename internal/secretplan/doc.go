// Package secretplan says which files of a volume become which keys of a Kubernetes Secret,
// and what of that a class asks for can never be. It does not see what a file holds.
package secretplan
