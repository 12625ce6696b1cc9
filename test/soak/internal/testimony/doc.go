// Package testimony is what an observer in a pod says it has seen, as a file that
// outlives the pod.
package testimony
