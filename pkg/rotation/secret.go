package rotation

import (
	"context"
	"errors"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// SecretObject asks for one Kubernetes Secret that is made from files of a volume.
type SecretObject struct {
	Name, Type          string
	Labels, Annotations map[string]string
	Data                []SecretKey
}

// SecretKey says which file becomes which key. The file "*" is every one.
type SecretKey struct{ File, Key string }

// Copy is what a Kubernetes Secret is to hold.
type Copy struct {
	// Pod is one that uses the Secret, in the same namespace.
	Pod provider.Pod
	// Class is the name of the class that claims the Secret.
	Class  string
	Object SecretObject
	// Files are all files of the volume.
	Files []provider.File
	// Fetched is when the fetch of Files began, or when they were read of which the
	// provider served a copy.
	Fetched time.Time
	// Repeat writes again what this node wrote before, which mends what others did to it.
	Repeat bool
}

// Secrets fills Kubernetes Secrets. Calls for one Secret may come side by side.
type Secrets interface {
	// Fill makes a Secret hold what c says, with what the pod belongs to among its
	// users. It makes no request if this process did all that a moment ago. Again is
	// when to repeat it. An error that only a person can mend is a [Refusal].
	Fill(ctx context.Context, c Copy) (again time.Duration, err error)
}

// Refusal is an error that has a reason of its own. One about a Secret stays until a
// person does something about it.
type Refusal struct {
	Reason Reason
	Err    error
}

func (r *Refusal) Error() string { return r.Err.Error() }

// Unwrap returns the error itself.
func (r *Refusal) Unwrap() error { return r.Err }

// SecretReason says why a Secret could not be filled.
func SecretReason(err error) Reason {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return refusal.Reason
	}
	return SecretInvalid
}
