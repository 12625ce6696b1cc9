package stand

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"golang.org/x/sys/unix"
)

// DriverName is the driver's default one.
const DriverName = "secrets-store.csi.k8s.io"

const volumeName = "secrets"

// Volume is an inline volume of a pod.
type Volume struct {
	Node                  Node
	Namespace, Pod, Class string
	// Group is the pod's fsGroup, or empty.
	Group string
	// PodUID is that of a pod which exists; without it there is none.
	PodUID string
	// Token is one of the pod's service account; without it there is one that is none.
	Token string
	// Audience is that of the token; "vault" if it is empty.
	Audience string
	// Tokenless volumes come with a token that has expired: they are not refreshed.
	Tokenless bool
}

// UID is the pod's.
func (v Volume) UID() string {
	if v.PodUID != "" {
		return v.PodUID
	}
	sum := sha256.Sum256([]byte(v.Namespace + "/" + v.Pod))
	h := hex.EncodeToString(sum[:16])
	return strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:32]}, "-")
}

// ID is the one that kubelet makes for the volume.
func (v Volume) ID() string {
	sum := sha256.Sum256([]byte(v.UID() + volumeName))
	return "csi-" + hex.EncodeToString(sum[:])
}

// Target is the directory that the volume is to be mounted at.
func (v Volume) Target() string { return filepath.Join(v.dir(), "mount") }

func (v Volume) dir() string {
	return filepath.Join(v.Node.pods(), v.UID(), "volumes", "kubernetes.io~csi", volumeName)
}

// Prepare does what kubelet does before it publishes: the directory above the target,
// and a file that says whose volume it is.
func (v Volume) Prepare() error {
	if err := os.MkdirAll(v.dir(), 0o750); err != nil {
		return fmt.Errorf("make the volume's directory: %w", err)
	}
	data, err := json.Marshal(map[string]string{
		"attachmentID": "", "driverName": DriverName, "nodeName": NodeID, "specVolID": volumeName,
		"volumeHandle": v.ID(), "volumeLifecycleMode": "Ephemeral",
	})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(v.dir(), "vol_data.json"), data, 0o600)
}

// Forget does what kubelet does after it unpublished, or after a publish that failed
// for good: the file and the directories go, and no file that is in the way.
func (v Volume) Forget() error {
	for _, name := range []string{v.Target(), filepath.Join(v.dir(), "vol_data.json"), v.dir()} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget volume %s: %w", v.ID(), err)
		}
	}
	for dir := filepath.Dir(v.dir()); dir != v.Node.pods(); dir = filepath.Dir(dir) {
		if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget pod %s: %w", v.Pod, err)
		}
	}
	return nil
}

func (v Volume) request() *csi.NodePublishVolumeRequest {
	return &csi.NodePublishVolumeRequest{
		VolumeId: v.ID(), TargetPath: v.Target(), Readonly: true,
		VolumeCapability: &csi.VolumeCapability{
			AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{VolumeMountGroup: v.Group}},
			AccessMode: &csi.VolumeCapability_AccessMode{Mode: csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER},
		},
		VolumeContext: v.Context(),
	}
}

// Context is the volume context that kubelet makes.
func (v Volume) Context() map[string]string {
	token := v.Token
	if token == "" {
		token = strings.Repeat("t", 900)
	}
	audience := v.Audience
	if audience == "" {
		audience = "vault"
	}
	expires := "2099-01-01T00:00:00Z"
	if v.Tokenless {
		expires = "2001-01-01T00:00:00Z"
	}
	return map[string]string{
		"secretProviderClass":                    v.Class,
		"csi.storage.k8s.io/pod.name":            v.Pod,
		"csi.storage.k8s.io/pod.namespace":       v.Namespace,
		"csi.storage.k8s.io/pod.uid":             v.UID(),
		"csi.storage.k8s.io/serviceAccount.name": "default",
		"csi.storage.k8s.io/ephemeral":           "true",
		"csi.storage.k8s.io/serviceAccount.tokens": `{"` + audience + `":{"token":"` + token +
			`","expirationTimestamp":"` + expires + `"}}`,
	}
}

// Mount is a line of /proc/self/mountinfo.
type Mount struct {
	Device, Target, Options, Type, SuperOptions string
}

// Mounts lists what is mounted below the node's pods folder.
func (n Node) Mounts() ([]Mount, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	var mounts []Mount
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		left, right, _ := strings.Cut(lines.Text(), " - ")
		l, r := strings.Fields(left), strings.Fields(right)
		if len(l) < 6 || len(r) < 3 || !strings.HasPrefix(l[4], n.pods()+"/") {
			continue
		}
		mounts = append(mounts, Mount{Device: l[2], Target: l[4], Options: l[5], Type: r[0], SuperOptions: r[2]})
	}
	return mounts, lines.Err()
}

// FreeDevice is the lowest device number that no file system has. One that is mounted
// nowhere any more, and held by somebody, has its number still.
func FreeDevice() (uint32, error) {
	context, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("open a tmpfs: %w", err)
	}
	defer func() { _ = unix.Close(context) }()
	if err = unix.FsconfigCreate(context); err != nil {
		return 0, fmt.Errorf("make a tmpfs: %w", err)
	}
	fd, err := unix.Fsmount(context, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("mount a tmpfs nowhere: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, fmt.Errorf("look at a tmpfs: %w", err)
	}
	return unix.Minor(stat.Dev), nil
}
