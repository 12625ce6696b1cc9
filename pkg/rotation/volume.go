package rotation

import (
	"context"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// NoGroup is the GID of a volume whose files belong to no group of the pod's.
const NoGroup = -1

// Volume is one inline CSI volume of a pod, as kubelet asks for it.
type Volume struct {
	ID provider.VolumeID
	// Target is the path at which the volume is mounted on the host.
	Target string
	Pod    provider.Pod
	// Class names a SecretProviderClass in the pod's namespace.
	Class string
	// Attributes are the volume attributes that the pod's author wrote, without
	// those that kubelet and the driver set.
	Attributes map[string]string
	Secrets    map[string]provider.Secret
	Tokens     provider.Tokens
	// Verify, if set, is to be asked before Tokens are used; an error refuses them.
	Verify func(ctx context.Context) error
	// GID is the group that files belong to and may be read by, or NoGroup.
	GID int
}

// Class is what a volume needs of its SecretProviderClass.
type Class struct {
	UID        string
	Generation int64
	Provider   string
	Parameters map[string]string
}

// Generation is a complete content of a volume.
type Generation struct {
	Files []provider.File
	GID   int
	// Memory is kept with the content, where pods do not see it; see [Files].
	Memory []byte
}

// State says what is at a target.
type State int

// The states of a target.
const (
	// Absent: nothing is mounted there.
	Absent State = iota
	// Unfilled: a volume is mounted that never got its content.
	Unfilled
	// Complete: a whole generation is mounted.
	Complete
)

// Found is what is at a target.
type Found struct {
	Target string
	State  State
	// Memory is what the generation that is mounted remembers; nil if it was mounted
	// by a driver that has no memory.
	Memory []byte
}

// Snapshot tells what is mounted, for the record.
type Snapshot struct {
	Target   string
	Volume   provider.VolumeID
	Pod      provider.Pod
	Class    string
	Versions []provider.Version
	// Fetched tells generations of a volume apart.
	Fetched time.Time
}

// Warning is something that a pod's owner should know.
type Warning struct {
	// Reason is one word, Text a sentence without any value.
	Reason, Text string
}

// Source fetches content; [provider.Client] is one.
type Source interface {
	Mount(ctx context.Context, name string, req *provider.Request) (*provider.Response, error)
	// Unmounted tells a provider that a volume of its is gone. It is best effort.
	Unmounted(ctx context.Context, name string, id provider.VolumeID)
}

// Cluster is Kubernetes, as far as volumes need it.
type Cluster interface {
	// Class returns a class, or an error of kind NotFound.
	Class(ctx context.Context, namespace, name string) (Class, error)
	// Record writes down what is mounted, if that is not written yet.
	Record(ctx context.Context, s Snapshot) error
	// Warn tells a pod's owner of something that does not stop the pod.
	Warn(ctx context.Context, pod provider.Pod, w Warning) error
}

// Files keeps the directories of volumes. Calls for different targets may run side
// by side; the caller makes one call at a time for one target.
type Files interface {
	Look(target string) (Found, error)
	// Replace makes the target hold exactly g, memory included; on an error it holds
	// what it held. Changed says whether pods see a difference.
	Replace(target string, g Generation) (changed bool, err error)
	// Remove unmounts and removes the target. It succeeds if nothing is there.
	Remove(target string) error
}

// Notes keeps what volumes remember.
type Notes interface {
	// Remember replaces the memory of the generation that is mounted.
	Remember(target string, memory []byte) error
	// Scan finds the volumes that are mounted on this node.
	Scan() ([]Found, error)
}

// Meter counts. Provider is empty until the class is known.
type Meter interface {
	Published(provider string, phase Phase, took time.Duration, err error)
	Unpublished(err error)
}

// Phase is the step of a publish that failed, or Done.
type Phase int

// The phases of a publish.
const (
	Done Phase = iota
	Looking
	Classing
	Fetching
	Writing
)
