// Package explain tells what is known about the volumes of a pod: class, provider, versions, the
// last error, the next refresh and the Secrets that are filled. It reads no Secret.
package explain
