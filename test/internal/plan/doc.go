// Package plan says where everything of a test cluster is: names, addresses
// and paths. It touches nothing.
package plan
