// Package operate is the part of the command line that is about the process: where it
// listens, what it logs and who may look into it. It knows nothing of Azure.
package operate
