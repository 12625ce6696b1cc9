// Command fakeprovider is a provider for tests that is told over HTTP what to do:
// which objects it has, how long it takes, how it fails.
package main
