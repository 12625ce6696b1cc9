//go:build linux

package tmpfs

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzNote reads any note of kubelet: only one that names the driver makes a volume ours.
func FuzzNote(f *testing.F) {
	f.Add([]byte(`{"attachmentID":"csi-1","driverName":"secrets-store.csi.k8s.io","nodeName":"n","specVolID":"v","volumeHandle":"h","volumeLifecycleMode":"Ephemeral"}`))
	f.Add([]byte(`{"driverName":"SECRETS-STORE.csi.k8s.io"}`))
	f.Add([]byte(`{"driverName":["secrets-store.csi.k8s.io"]}`))
	f.Add([]byte(`{"driverName":""}{"driverName":"secrets-store.csi.k8s.io"}`))
	f.Add([]byte(`null`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, text []byte) {
		note := filepath.Join(t.TempDir(), "vol_data.json")
		if err := os.WriteFile(note, text, 0o600); err != nil {
			t.Fatal(err)
		}
		v := &Volumes{cfg: Config{Driver: "secrets-store.csi.k8s.io"}}
		if ours, err := v.isOurs(note); ours && err != nil {
			t.Errorf("ours, and %v", err)
		}
		v.cfg.Driver = "another.driver"
		if ours, _ := v.isOurs(note); ours && !bytes.Contains(text, []byte("other")) {
			t.Errorf("%q is that of another driver", text)
		}
	})
}
