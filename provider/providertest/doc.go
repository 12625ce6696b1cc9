// Package providertest has what tests of drivers and providers need: [Conform], which
// every provider passes, and [Fake], a provider that does what a test tells it. It is
// never part of a product.
package providertest
