package provider

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what sort of failure an error is. The driver chooses the gRPC code
// for kubelet, the metric label and the back-off by it.
type Kind int

// The kinds of failure.
const (
	// Unknown is everything that has no kind of its own.
	Unknown Kind = iota
	// Invalid: the class or the request is wrong; it fails until someone edits it.
	Invalid
	// NotFound: an object that the class names does not exist in the store.
	NotFound
	// Denied: the store knows who asks and says no, or refuses the login.
	Denied
	// Unavailable: the store, or the way to it, is down. Worth trying again.
	Unavailable
	// Throttled: the store asks for fewer calls. Worth trying again later.
	Throttled
	// Timeout: the deadline passed.
	Timeout
	// Busy: another call for the same volume is under way.
	Busy
	// TooLarge: a limit on sizes was exceeded.
	TooLarge
	// Internal: a bug, a panic for instance.
	Internal
)

// String returns the kind's name, from a closed set that suits a metric label.
func (k Kind) String() string {
	switch k {
	case Invalid:
		return "Invalid"
	case NotFound:
		return "NotFound"
	case Denied:
		return "Denied"
	case Unavailable:
		return "Unavailable"
	case Throttled:
		return "Throttled"
	case Timeout:
		return "Timeout"
	case Busy:
		return "Busy"
	case TooLarge:
		return "TooLarge"
	case Internal:
		return "Internal"
	case Unknown:
	}
	return "Unknown"
}

// KindNamed returns the kind whose String is name; others are Unknown.
func KindNamed(name string) Kind {
	for k := Unknown; k <= Internal; k++ {
		if k.String() == name {
			return k
		}
	}
	return Unknown
}

// Error is an error with a kind.
type Error struct {
	Kind Kind
	// RetryAfter is how long the store asked callers to wait; 0 if it did not.
	RetryAfter time.Duration
	// Reason is a provider's own short word for the cause, if it gave one.
	Reason string
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error that e gives a kind to.
func (e *Error) Unwrap() error { return e.Err }

// Errorf is [fmt.Errorf] for an error of a kind. The text must not contain a
// secret value or a token: it reaches pod events.
func Errorf(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// KindOf returns the kind of the outermost [Error] in err's tree, or Unknown.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Unknown
}
