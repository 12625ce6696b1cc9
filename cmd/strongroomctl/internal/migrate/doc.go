// Package migrate tells what changes when the upstream driver and its providers are replaced by
// ours, from the objects of a cluster. Of Secrets it reads metadata only, and it changes nothing.
package migrate
