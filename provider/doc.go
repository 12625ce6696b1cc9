// Package provider is what a provider of the Secrets Store CSI driver is made
// with: the types it sees, [Main], and both ends of the wire between driver and
// provider. It never touches a volume, Kubernetes or a store.
//
// A provider is a type with one method, Mount, and a main function:
//
//	func main() { provider.Main("acme", open) }
//
// [Main] does the rest: flags, socket, gRPC, health, metrics, logging, signals.
// The types may grow fields; existing ones keep their meaning. Providers made with
// this package also run under the upstream driver, and the [Client] here also
// speaks with providers made without it.
package provider
