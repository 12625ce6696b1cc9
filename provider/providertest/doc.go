// Package providertest has what tests of drivers and providers need: a provider
// that does what a test tells it. It is never part of a product.
package providertest
