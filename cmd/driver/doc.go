// Command driver is the node component of the Secrets Store CSI driver: it mounts
// volumes of secrets into pods. See --help for its flags.
package main
