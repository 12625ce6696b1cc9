// Package material makes keys, certificates and PKCS#12 files of every sort that a key
// vault may hold, good ones and odd ones, by Go and by OpenSSL. It keeps nothing.
package material
