//go:build !linux

package confine

import "errors"

// ErrUnsupported is returned where there is nothing like it.
var ErrUnsupported = errors.New("confining needs Linux")

// Reduce does nothing here.
func Reduce() error { return ErrUnsupported }
