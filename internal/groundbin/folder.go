package groundbin

import (
	"os"
	"path/filepath"
	"testing"
)

// Folder is where kube-apiserver and etcd are. Where they were not built, a short test is
// skipped and any other fails.
func Folder(t testing.TB) string {
	t.Helper()
	cache := os.Getenv("STRONGROOM_CACHE")
	if cache == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(home, ".cache", "strongroom")
	}
	bin := filepath.Join(cache, "bin")
	if _, err := os.Stat(filepath.Join(bin, "kube-apiserver")); err != nil {
		if testing.Short() {
			t.Skipf("no kube-apiserver in %s: make test builds it", bin)
		}
		t.Fatalf("no kube-apiserver in %s: make test builds it", bin)
	}
	return bin
}
