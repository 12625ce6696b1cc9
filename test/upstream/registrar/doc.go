// Command registrar makes a CSI driver known to kubelet, beside a driver that does not do
// so itself: it stands for the sidecar that the upstream driver needs.
package main
