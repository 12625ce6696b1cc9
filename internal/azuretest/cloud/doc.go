// Package cloud is an Azure of its own, for tests: a sign-in authority, Key Vaults
// and the metadata endpoint of a virtual machine, written from Azure's public REST
// documentation (testdata/SOURCES.md names the pages). It speaks HTTPS with a
// certificate of its own CA, does real cryptography, counts what it is asked, throttles
// and fails on demand. What the documentation does not know it answers with 500 and
// keeps as a violation, for a test to fail on. It knows nothing of the product, and
// never listens or dials by itself.
package cloud
