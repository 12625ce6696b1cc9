// Command observer runs in a pod and reads its volume again and again. What it reads says
// of itself what it is (see package witness), so the observer can tell: the content is
// always one whole generation, that of this pod, published before now and not before
// another that was seen, with every file that it has.
//
// Once a second it reports what it has seen. It fails at the first violation, which is
// also the container's termination message.
package main
