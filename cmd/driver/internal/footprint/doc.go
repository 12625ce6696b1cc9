// Package footprint keeps the driver small in memory: it runs on every node.
package footprint
