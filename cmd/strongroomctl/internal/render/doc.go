// Package render says which files a pod would see from a class, and which Secrets the driver
// would fill, out of values that its user writes down. It asks no store and no cluster.
package render
