package provider

import (
	"context"
	"io/fs"
	"log/slog"
	"time"
)

// Provider fetches the files of one volume from a store. Mount is called
// concurrently, for first mounts and for refreshes alike; it must honour ctx and
// must not keep req or hand out memory that it changes later. Either every file
// that the class asks for is in the Response, or Mount returns an error: nothing
// in between. Errors made with [Errorf] tell the driver what kind of failure it
// was; any other error counts as [Unknown].
type Provider interface {
	Mount(ctx context.Context, req *Request) (*Response, error)
}

// Pod identifies the pod that a volume belongs to, as kubelet states it.
type Pod struct {
	Name           string
	Namespace      string
	UID            string
	ServiceAccount string
}

// Token is one service account token of the pod, as kubelet supplied it.
type Token struct {
	Value   Secret
	Expires time.Time
}

// Tokens maps an audience to the pod's token for it.
type Tokens map[string]Token

// Version names the state of one object of the store. It ends up in a
// SecretProviderClassPodStatus that many may read, so it must not reveal
// anything about the object's value.
type Version struct {
	ID      string
	Version string
}

// Request asks for the files of one volume.
type Request struct {
	Pod    Pod
	Tokens Tokens
	// Class is the name of the SecretProviderClass, in the pod's namespace.
	Class string
	// Parameters are spec.parameters of the class, overlaid with volume attributes
	// where the driver allows that. Keys that the CSI machinery sets are not in it.
	Parameters map[string]string
	// Secrets holds the data of nodePublishSecretRef; nil when the pod names none.
	Secrets map[string]Secret
	// Volume is the CSI volume id; empty if the driver did not tell and it cannot be
	// known. It is what an [Unmounter] hears of later.
	Volume VolumeID
	// Tells says that the driver tells an [Unmounter] when the volume is gone; the
	// upstream driver does not.
	Tells bool
	// Current lists the versions in the volume now. It is empty at a first mount,
	// and for providers that are no [VersionUser].
	Current []Version
	// Mode is the default mode of a file (0644).
	Mode fs.FileMode
	// NotBefore, when set, forbids answers whose store read began earlier.
	NotBefore time.Time
	// TargetPath is the volume's path on the host, for log lines only.
	TargetPath string
}

// File is one file of a volume.
type File struct {
	// Path is relative to the volume's root; see [CheckFiles] for what it may be.
	Path string
	// Mode holds permission bits only.
	Mode     fs.FileMode
	Contents []byte
}

// Response is the complete content of a volume.
type Response struct {
	Files    []File
	Versions []Version
	// Refresh asks the driver to call again after this time, before the end of a lease
	// for instance. The class's interval counts if it is shorter, or if this is 0.
	Refresh time.Duration
	// Expires is when the content stops being valid at the store; zero if never.
	Expires time.Time
	// Empty says that a response without files is meant: the volume has none.
	Empty bool
	// Stale, when set, says that the store did not answer, and when what stands in for
	// its answer was read: the oldest time, if the files are of several. The driver
	// delivers the files as any others, and reports it.
	Stale time.Time
}

// VolumeID is the CSI volume id of an inline volume.
type VolumeID string

// The interfaces that follow are optional powers of a Provider, found by type
// assertion. The provider announces them to the driver; under the upstream driver,
// which does not ask, it gets all tokens, no versions and no Unmounted. A Provider
// that is a [prometheus.Collector] has its metrics shown at /metrics among the others.

// Unmounter learns that a volume is gone, in order to hand back a lease. It is best
// effort: a call can be lost, or come twice, or for a volume that this process never
// mounted.
type Unmounter interface {
	Unmounted(ctx context.Context, v VolumeID)
}

// Closer ends what a provider has open at its store. [Serve] calls it once, when the
// last call has ended, also when serving failed; a call that goes on although its
// context has ended is not waited for. ctx ends after 10 seconds.
type Closer interface {
	Close(ctx context.Context)
}

// Audiencer names the audiences whose tokens the provider wants in
// [Request.Tokens]. The driver then sends no others. None means all. It is asked
// once for each connection of a driver.
type Audiencer interface {
	Audiences() []string
}

// VersionUser says whether the provider makes use of [Request.Current].
type VersionUser interface {
	UsesVersions() bool
}

// Observer is told of every call at the socket that was answered, health checks too:
// its gRPC method, as in /v1alpha1.CSIDriverProvider/Mount, and the error that the
// caller got, which has a gRPC status.
type Observer interface {
	Called(method string, took time.Duration, err error)
}

// OpenFunc makes the Provider once flags are parsed, before the socket exists.
// It should fail only for what an operator must mend; a store that is down is no
// reason. ctx ends when the process is told to stop.
type OpenFunc func(ctx context.Context, log *slog.Logger) (Provider, error)
