// Package doctor examines an installation: it reads what the cluster says into a Snapshot, and
// finds in that what keeps volumes from being mounted or refreshed. It changes nothing.
package doctor
