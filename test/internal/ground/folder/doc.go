// Package folder is the run folder of a test server: one directory that holds
// everything the server writes, known by a mark so that nothing else is ever
// removed, and locked while a tool works on it.
package folder
