package kube

import "time"

// SetFresh changes for how long a key is used without asking for it again.
func (v *VersionKey) SetFresh(fresh time.Duration) { v.fresh = fresh }

// InClusterAt is InCluster with the credentials in dir.
func InClusterAt(getenv func(string) string, dir string) (Config, error) {
	return inCluster(getenv, dir)
}

// Expire lets the next Get ask for the key again.
func (v *VersionKey) Expire() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.next = time.Time{}
}
