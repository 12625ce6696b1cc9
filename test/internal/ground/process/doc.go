// Package process starts the long-running processes of the test ground and
// finds them again. They are known by a mark in their environment, so that a
// process of anybody else is never touched.
package process
