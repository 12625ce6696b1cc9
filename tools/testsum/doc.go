// Command testsum reads the output of go test -json and prints what a reader needs:
// one line per package, the output of what failed, the reasons for skips, and a
// closing line with the counts.
package main
