package doctor

import "slices"

// Needed are the rights of a driver that fills Secrets in all namespaces.
func Needed() []Right {
	return slices.Concat(needed("secrets-store.csi.k8s.io"), filling(""), filling("shop"))
}
