// Package rotationtest turns the driver's clock over volumes that are in memory, so that
// a provider can be tested together with what calls it. It knows no provider, and
// mounts nothing.
package rotationtest
