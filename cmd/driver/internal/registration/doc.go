// Package registration makes the driver known to kubelet, without a sidecar.
package registration
