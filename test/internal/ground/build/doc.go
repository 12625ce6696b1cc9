// Package build makes the programs of the test ground from Go modules that
// hold nothing but tool directives, and keeps them outside the checkout. A
// program is made again only when its inputs changed.
package build
