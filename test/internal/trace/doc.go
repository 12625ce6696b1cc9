// Package trace stops all threads of a process at their system calls, and kills the
// process at a chosen one: at the entry, when the call has had no effect, or at the
// exit, when it has had all of it.
package trace
