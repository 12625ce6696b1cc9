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

func (v Volume) className() ClassName { return ClassName{v.Pod.Namespace, v.Class} }

// Class is what a volume needs of its SecretProviderClass.
type Class struct {
	UID        string
	Generation int64
	Provider   string
	Parameters map[string]string
	// Interval is the time between two refreshes; 0 is the driver's.
	Interval time.Duration
	// Never keeps what was mounted first.
	Never bool
	// Refresh is the value of the annotation that forces a refresh when it changes.
	Refresh string
	Secrets []SecretObject
}

// secretNames names the Secrets that the class asks for; nil is none.
func (c Class) secretNames() []string {
	var names []string
	for _, s := range c.Secrets {
		names = append(names, s.Name)
	}
	return names
}

// Generation is a complete content of a volume.
type Generation struct {
	Files []provider.File
	GID   int
	// Memory is kept with the content, where pods do not see it; see [Files].
	Memory []byte
	// Again is set to change what is mounted. That nothing is, is an error then.
	Again bool
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

// Condition is one that a volume is in, as Kubernetes writes it.
type Condition struct {
	Type   string    `json:"type"`
	OK     bool      `json:"ok,omitempty"`
	Reason Reason    `json:"reason"`
	Text   string    `json:"text,omitempty"`
	Since  time.Time `json:"since"`
}

// The types of conditions.
const (
	// Ready: the volume is kept fresh.
	Ready = "Ready"
	// Synced: the Secrets that its class asks for are.
	Synced = "Synced"
)

// Snapshot tells what is mounted, for the record.
type Snapshot struct {
	Target     string
	Volume     provider.VolumeID
	Pod        provider.Pod
	Class      string
	Versions   []provider.Version
	Conditions []Condition
	// Changed tells snapshots of a volume apart.
	Changed time.Time
	// Known says that the record exists, if nobody deleted it.
	Known bool
}

// Notice is something that users should know: of a pod, or, if that has no name, of
// a class.
type Notice struct {
	Pod      provider.Pod
	Class    ClassName
	ClassUID string
	// Good news is no warning.
	Good   bool
	Reason Reason
	// Text is a sentence without any value.
	Text string
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
	// Tell makes an event.
	Tell(ctx context.Context, n Notice) error
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

// Mounts looks into what is mounted.
type Mounts interface {
	// Read returns the files that the target holds.
	Read(target string) ([]provider.File, error)
	// Pinned says whether a container uses a subPath of the volume, which shows for ever
	// what was there when it started.
	Pinned(target string) bool
}

// Delivery is how a publish or a refresh went.
type Delivery struct {
	Trigger Trigger
	// Provider is empty until the class is known.
	Provider string
	// Phase is the one that failed, or Done.
	Phase   Phase
	Took    time.Duration
	Changed bool
	// Served says that the store did not answer, and the provider served what it had.
	Served bool
	Err    error
	// Reason is that of Err.
	Reason Reason
}

// Meter counts.
type Meter interface {
	Delivered(d Delivery)
	Filled(provider string, took time.Duration, err error)
	Unpublished(err error)
}

// Journal is told who got what. It must be quick.
type Journal interface {
	Note(e Entry)
}

// Entry is one delivery of content. It holds no value.
type Entry struct {
	Time    time.Time
	Trigger Trigger
	Pod     provider.Pod
	Class   string
	// Provider is empty while the class is not known.
	Provider string
	// Secret names the Kubernetes Secret, if it is about one.
	Secret string
	// Versions are those that were delivered.
	Versions []provider.Version
	Changed  bool
	Err      error
}

// Phase is the step of a publish or a refresh that failed, or Done.
type Phase int

// The phases.
const (
	Done Phase = iota
	Looking
	Classing
	Fetching
	Writing
)
