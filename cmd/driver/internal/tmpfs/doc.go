// Package tmpfs keeps the directories of volumes: each is a tmpfs that is mounted
// whole, changed in one step, and removed. It never fetches anything, and never
// follows a path out of a volume.
package tmpfs
