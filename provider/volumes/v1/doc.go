// Package volumes is the generated code of the service by which a driver tells a
// provider what becomes of its volumes. It never holds anything written by hand.
package volumes
