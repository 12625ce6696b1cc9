// Package attack kills the released driver at every system call of a publish and of an
// unpublish and at random instants, lets its provider misbehave, and puts leftovers in
// its way. Whatever happens, a volume is whole or there is none. It holds tests only:
//
//	go test -tags attack ./attack
package attack
