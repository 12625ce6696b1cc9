// Package audit tells who got what: the sessions that pods share at a store hide them
// from the store's own audit log, so the driver keeps one.
package audit
