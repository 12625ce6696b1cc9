// Package debian installs the Debian packages that the test ground needs and
// that are not there. It never upgrades or removes one.
package debian
