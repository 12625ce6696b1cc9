// Package attack kills the released driver at every system call of a publish, of an
// unpublish, of a refresh, and of what it writes to the cluster, and at random instants,
// lets its provider misbehave, and puts leftovers in its way. Whatever happens, a volume
// is whole or there is none, and no record and no Secret is lost. It holds tests only:
//
//	go test -tags attack ./attack
package attack
