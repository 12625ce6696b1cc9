package csi

import (
	"strings"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
)

// Whatever a caller sends: an accepted volume is of the pod that its target names,
// and its target is a clean path of a pod's CSI volume.
func FuzzVolumeOf(f *testing.F) {
	const target = "/var/lib/kubelet/pods/uid-1/volumes/kubernetes.io~csi/v/mount"
	f.Add(target, string(handle("uid-1", "v")), "uid-1", "4711", "{}")
	f.Add(target, string(handle("uid-1", "v")), "uid-1", "", `{"vault":{"token":"t","expirationTimestamp":"2026-01-02T03:04:05Z"}}`)
	f.Add("/a/../"+target, "csi-1", "uid-2", "-1", "x")
	f.Add("/pods/../volumes/kubernetes.io~csi/v/mount", string(handle("..", "v")), "..", "0", "")
	f.Add("/pods/u/volumes/kubernetesXio~csi/v/mount/mount", "", "u", "99999999999", "[]")
	f.Fuzz(func(t *testing.T, target, id, uid, group, tokens string) {
		v, err := volumeOf(&csi.NodePublishVolumeRequest{
			VolumeId: id, TargetPath: target, Readonly: true,
			VolumeCapability: &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Mount{
				Mount: &csi.VolumeCapability_MountVolume{VolumeMountGroup: group},
			}},
			VolumeContext: map[string]string{
				"secretProviderClass": "c", "csi.storage.k8s.io/pod.name": "p", "csi.storage.k8s.io/pod.namespace": "ns",
				"csi.storage.k8s.io/pod.uid": uid, "csi.storage.k8s.io/serviceAccount.tokens": tokens,
			},
		})
		if err != nil {
			return
		}
		parts := strings.Split(v.Target, "/")
		n := len(parts)
		if n < 6 || parts[n-1] != "mount" || parts[n-3] != "kubernetes.io~csi" || parts[n-4] != "volumes" || parts[n-5] != v.Pod.UID || parts[n-6] != "pods" {
			t.Errorf("target %q of pod %q passed", v.Target, v.Pod.UID)
		}
		if strings.Contains(v.Target, "/../") || strings.Contains(v.Target, "//") || v.ID != handle(v.Pod.UID, parts[n-2]) {
			t.Errorf("target %q, id %q passed", v.Target, v.ID)
		}
	})
}

func FuzzParseEndpoint(f *testing.F) {
	f.Add("unix:///csi/csi.sock")
	f.Add("tcp://127.0.0.1:1")
	f.Fuzz(func(t *testing.T, endpoint string) {
		network, address, err := ParseEndpoint(endpoint)
		if err == nil && (address == "" || network == "unix" && address[0] != '/') {
			t.Errorf("%q became %q %q", endpoint, network, address)
		}
	})
}
