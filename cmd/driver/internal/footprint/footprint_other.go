//go:build !linux

package footprint

import "runtime/debug"

// Shed gives back heap that only the start of the process needed.
func Shed() error {
	debug.FreeOSMemory()
	return nil
}
