// Package sanity runs the conformance suite of the Container Storage Interface against
// the released driver. The suite knows volumes that a controller makes; here a double
// makes them, as kubelet makes inline volumes. It holds tests only:
//
//	go test -tags sanity ./sanity
package sanity
