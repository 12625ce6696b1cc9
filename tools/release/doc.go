// Command release makes what a version consists of: images, archives, the chart, manifests
// and lists of what is in them, and their checksums. The same source and the same Go give the
// same bytes. It pushes nothing, and signs nothing.
package main
