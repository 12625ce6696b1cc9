// Package docs holds no code. Its tests hold the pages of the documentation against the
// repository: commands that say whether they are run, links, reading order, and the
// reference that is made from classes and CRDs.
package docs
