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

// Step is where a call of a provider failed.
type Step int

// The steps of a call.
const (
	// Unstated: the provider does not say.
	Unstated Step = iota
	// Connecting: the driver did not reach the provider.
	Connecting
	// LoggingIn: the provider was not let in by the store.
	LoggingIn
	// Reading: the provider was let in, and could not read what the class names.
	Reading
)

// String returns the step's name.
func (s Step) String() string {
	switch s {
	case Connecting:
		return "Connecting"
	case LoggingIn:
		return "LoggingIn"
	case Reading:
		return "Reading"
	case Unstated:
	}
	return "Unstated"
}

// stepNamed returns the step whose String is name; others are Unstated.
func stepNamed(name string) Step {
	for s := Unstated; s <= Reading; s++ {
		if s.String() == name {
			return s
		}
	}
	return Unstated
}

// At notes at which step err happened, unless that is noted already, and keeps its
// kind and text.
func At(step Step, err error) error {
	e, ok := errors.AsType[*Error](err)
	if err == nil || ok && e.Step != Unstated {
		return err
	}
	with := &Error{Step: step, Err: err}
	if ok {
		with.Kind, with.RetryAfter, with.Reason = e.Kind, e.RetryAfter, e.Reason
	}
	return with
}

// Error is an error with a kind.
type Error struct {
	Kind Kind
	// Step is where a call of a provider failed, if that is known.
	Step Step
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
