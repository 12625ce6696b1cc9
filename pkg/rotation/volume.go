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

// Snapshot tells what is mounted, for the record.
type Snapshot struct {
	Volume   Volume
	Versions []provider.Version
}

// Source fetches content; [provider.Client] is one.
type Source interface {
	Mount(ctx context.Context, name string, req *provider.Request) (*provider.Response, error)
}

// Cluster is Kubernetes, as far as volumes need it.
type Cluster interface {
	// Class returns a class, or an error of kind NotFound.
	Class(ctx context.Context, namespace, name string) (Class, error)
	// Record writes down what is mounted, if that is not written yet.
	Record(ctx context.Context, s Snapshot) error
}

// Files keeps the directories of volumes. Calls for different targets may run side
// by side; the caller makes one call at a time for one target.
type Files interface {
	Look(target string) (State, error)
	// Replace makes the target hold exactly g; on an error it holds what it held.
	Replace(target string, g Generation) (changed bool, err error)
	// Remove unmounts and removes the target. It succeeds if nothing is there.
	Remove(target string) error
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
