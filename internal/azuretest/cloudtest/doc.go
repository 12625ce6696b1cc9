// Package cloudtest runs the Azure of package cloud in the process of a Go test.
package cloudtest
