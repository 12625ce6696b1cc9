package rotation

import (
	"errors"
	"fmt"
	"strings"

	"github.com/strongroom/strongroom/provider"
)

// Reason is why something went wrong, or that it went well. There are no others than
// these: events, conditions, metrics and errors for kubelet say them by the same word,
// and docs/troubleshooting.md has a heading for each.
type Reason int

// The reasons.
const (
	// Unreasoned is no reason.
	Unreasoned Reason = iota

	// MountedReason, RefreshedReason and SyncedReason are good news.
	MountedReason
	RefreshedReason
	SyncedReason

	// ClassNotFound: the class does not exist.
	ClassNotFound
	// APIServerFailed: the API server does not say what the driver has to know.
	APIServerFailed
	// ClassInvalid: the class is wrong, or what the provider was asked for.
	ClassInvalid
	// OverrideRefused: the pod's volume attributes would override the class.
	OverrideRefused
	// VolumeInvalid: kubelet's call cannot be answered as it is.
	VolumeInvalid

	// ProviderUnavailable: the driver does not reach the provider.
	ProviderUnavailable
	// ProviderFault: the provider has a bug.
	ProviderFault
	// ProviderFailed: the provider does not say what sort of failure it is.
	ProviderFailed
	// LoginFailed: the store does not let the provider in.
	LoginFailed
	// StoreDenied: the store refuses what the class names.
	StoreDenied
	// ObjectNotFound: the store does not have what the class names.
	ObjectNotFound
	// StoreUnavailable: the store does not answer, or not in time.
	StoreUnavailable
	// StoreThrottled: the store asks for fewer calls.
	StoreThrottled

	// VolumeTooLarge: a limit on sizes is exceeded.
	VolumeTooLarge
	// VolumeBusy: another call for the volume is under way.
	VolumeBusy
	// WriteFailed: the files could not be written.
	WriteFailed
	// MountFailed: the driver could not look at the mount point.
	MountFailed
	// UnmountFailed: the volume could not be unmounted.
	UnmountFailed
	// DriverFault: the driver has a bug.
	DriverFault

	// RefreshStale: two intervals have passed without a refresh.
	RefreshStale
	// TokensExpired: kubelet brings no fresh tokens.
	TokensExpired
	// NotAnnounced: kubelet has not named the volume since the driver was started.
	NotAnnounced
	// ServedStale: the provider served what it had, since its store did not answer.
	ServedStale
	// ContentExpires: what is mounted ends soon.
	ContentExpires
	// SubPathNeverRefreshed: a container sees for ever what was there at its start.
	SubPathNeverRefreshed

	// SecretInvalid: what the class asks for cannot be made from the files, or the API
	// server does not take it.
	SecretInvalid
	// SecretConflict: another class fills the Secret.
	SecretConflict
	// SecretNotManaged: there is a Secret that the driver did not make.
	SecretNotManaged
	// SyncNotAllowed: the driver may not write Secrets in the namespace.
	SyncNotAllowed
)

// Explanation is what there is to say of a reason in general. Cause and cure are short:
// with them, an event says in 200 characters what it is about.
type Explanation struct{ Word, Cause, Cure string }

// explanations has words of the upstream driver where they mean the same.
func explanations() []Explanation {
	return []Explanation{
		Unreasoned:      {},
		MountedReason:   {"Mounted", "the volume is mounted and kept fresh", "nothing is to be done"},
		RefreshedReason: {"Refreshed", "volumes are refreshed again", "nothing is to be done"},
		SyncedReason:    {"Synced", "the Secret is filled", "nothing is to be done"},

		ClassNotFound:   {"SecretProviderClassNotFound", "it does not exist", "create it in the pod's namespace"},
		APIServerFailed: {"APIServerFailed", "the API server gave no answer", "check it, and the driver's rights"},
		ClassInvalid:    {"ClassInvalid", "the class, or what the pod brings, is wrong", "correct it as said here"},
		OverrideRefused: {"OverrideRefused", "the pod overrides class parameters", "put them into the class"},
		VolumeInvalid:   {"VolumeInvalid", "kubelet's call is refused", "correct the volume, or the CSIDriver object"},

		ProviderUnavailable: {"ProviderUnavailable", "the provider is not reached on this node", "see to its pod there"},
		ProviderFault:       {"ProviderFault", "the provider has a bug", "see its log, and report it"},
		ProviderFailed:      {"GRPCProviderError", "the provider failed", "see what it says, and its log"},
		LoginFailed:         {"LoginFailed", "the store refuses the login", "correct role or identity, in class or store"},
		StoreDenied:         {"StoreDenied", "the store refuses the read", "grant it to the role or identity"},
		ObjectNotFound:      {"ObjectNotFound", "the store has no such object", "correct its name, or create it"},
		StoreUnavailable:    {"StoreUnavailable", "the store does not answer", "check it, and its address in the class"},
		StoreThrottled:      {"StoreThrottled", "the store asks for fewer calls", "wait, or raise its limits"},

		VolumeTooLarge: {"VolumeTooLarge", "the content is over a limit", "mount less, or raise the limit"},
		VolumeBusy:     {"VolumeBusy", "another call for it is under way", "wait, or see the driver's log"},
		WriteFailed:    {"FileWriteError", "the files could not be written", "see to the node's memory and mounts"},
		MountFailed:    {"FailedToMount", "the mount point cannot be used", "see to the node's mounts"},
		UnmountFailed:  {"UnmountFailed", "the volume could not be unmounted", "see to the node's mounts"},
		DriverFault:    {"DriverFault", "the driver has a bug", "see its log, and report it"},

		RefreshStale:          {"RefreshStale", "no refresh for two intervals", "see the log of the driver on this node"},
		TokensExpired:         {"TokensExpired", "the pod's tokens have expired", "see the kubelet of its node"},
		NotAnnounced:          {"NotAnnounced", "kubelet has not announced the volume", "see that of its node"},
		ServedStale:           {"ServedStale", "the store did not answer, old content is served", "see to the store"},
		ContentExpires:        {"ContentExpires", "what is mounted ends soon", "renew it at its store"},
		SubPathNeverRefreshed: {"SubPathNeverRefreshed", "a subPath shows old files for ever", "mount the whole volume"},

		SecretInvalid:    {"FailedToCreateSecret", "it cannot be made or written", "correct secretObjects or wait, as said"},
		SecretConflict:   {"Conflict", "another class fills it", "choose another secretName"},
		SecretNotManaged: {"SecretNotManaged", "it is not the driver's", "hand it over, delete it, or choose another name"},
		SyncNotAllowed:   {"SyncNotAllowed", "the driver may not write it", "allow it in the namespace, as said here"},
	}
}

// Reasons lists all reasons.
func Reasons() []Reason {
	var all []Reason
	for i := range explanations()[1:] {
		all = append(all, Reason(i+1))
	}
	return all
}

// String returns the word for the reason.
func (r Reason) String() string { return r.Explain().Word }

// Explain says what there is to say in general.
func (r Reason) Explain() Explanation {
	all := explanations()
	if r < 0 || int(r) >= len(all) {
		r = Unreasoned
	}
	return all[r]
}

// MarshalText implements [encoding.TextMarshaler].
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. A word that is not known, which a
// volume may remember of another version, must not lose the rest of what it remembers.
func (r *Reason) UnmarshalText(text []byte) error {
	for i, e := range explanations() {
		if e.Word == string(text) {
			*r = Reason(i)
			return nil
		}
	}
	*r = ProviderFailed
	return nil
}

// about puts cause and cure before what is known in detail.
func (r Reason) about(detail string) string {
	e := r.Explain()
	text := e.Cause + ": " + e.Cure
	if detail != "" {
		text += ": " + detail
	}
	return text
}

// Failed gives an error the beginning that users get to see in an event of kubelet: what
// was attempted, the word, cause and cure.
func Failed(attempt string, why Reason, err error) error {
	e := why.Explain()
	return fmt.Errorf("%s: %s: %s: %s: %w", attempt, why, e.Cause, e.Cure, err)
}

// FailedMount is [Failed] for a publish, with a beginning that operators search for.
func FailedMount(pod provider.Pod, why Reason, err error) error {
	return Failed("failed to mount secrets store objects for pod "+short(pod.Namespace+"/"+pod.Name), why, err)
}

// maxShort bounds a name where it must leave room for cause and cure.
const maxShort = 60

// short cuts the middle out of a name that is very long.
func short(name string) string {
	if len(name) <= maxShort {
		return name
	}
	const end = 16
	return strings.ToValidUTF8(name[:maxShort-end-3], "") + "..." + strings.ToValidUTF8(name[len(name)-end:], "")
}

// reasonOf says why a publish or a refresh failed.
func reasonOf(phase Phase, err error) Reason {
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		return refusal.Reason
	}
	kind, step := provider.KindOf(err), provider.Unstated
	if e, ok := errors.AsType[*provider.Error](err); ok {
		step = e.Step
	}
	switch {
	case phase == Classing && kind == provider.NotFound:
		return ClassNotFound
	case phase == Classing:
		return APIServerFailed
	case kind == provider.TooLarge:
		return VolumeTooLarge
	case kind == provider.Busy:
		return VolumeBusy
	case phase == Looking:
		return MountFailed
	case phase == Writing:
		return WriteFailed
	}
	return fetchReason(kind, step)
}

// fetchReason says why a provider did not bring what it was asked for.
func fetchReason(kind provider.Kind, step provider.Step) Reason {
	switch kind {
	case provider.Invalid:
		return ClassInvalid
	case provider.Throttled:
		return StoreThrottled
	case provider.Internal:
		return ProviderFault
	case provider.Unavailable, provider.Timeout:
		if step == provider.Connecting {
			return ProviderUnavailable
		}
		return StoreUnavailable
	case provider.Denied, provider.NotFound, provider.Unknown:
		return refusalReason(kind, step)
	case provider.Busy, provider.TooLarge: // which are nobody's fault
	}
	return ProviderFailed
}

func refusalReason(kind provider.Kind, step provider.Step) Reason {
	switch {
	case step == provider.Connecting:
		return ProviderUnavailable
	case step == provider.LoggingIn:
		return LoginFailed
	case kind == provider.Denied:
		return StoreDenied
	case kind == provider.NotFound:
		return ObjectNotFound
	}
	return ProviderFailed
}
