// Command azure runs an Azure of its own on this machine, for tests: an authority, key
// vaults and the metadata endpoint of a virtual machine, see package cloud. Clients find
// it by the names of its hosts and trust the CA that it writes down.
package main
