// Package step prints what a tool does and how long it took. It never decides
// whether a step succeeded.
package step
