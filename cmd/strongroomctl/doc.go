// Command strongroomctl looks after a Secrets Store CSI driver: it examines a cluster, explains
// volumes, and checks classes before they are applied. See docs/strongroomctl.md.
package main
