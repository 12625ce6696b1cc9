package kube

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

const (
	// syncComponent gives the driver what it needs to fill Secrets.
	syncComponent = "manifests/components/sync-secrets"
	// syncLabel on a namespace, with the value enabled, allows it there.
	syncLabel = "secrets-store.csi.x-k8s.io/sync"
	// ownPolicies is how the names of that component's policies begin.
	ownPolicies = "secrets-store-csi-driver-"
	// refusedHolds is for how long nobody asks again for what is not allowed, at least.
	refusedHolds = time.Minute
	// startUp is for how long an API server that was just started may say that somebody
	// has no right, because it does not know the rules yet.
	startUp = 30 * time.Second
	// worksFor is how long it is remembered that the driver had its rights.
	worksFor = 24 * time.Hour
)

// request is what was asked of the API server.
type request struct {
	verb, resource string
	object         client.ObjectKey
}

func (r request) String() string {
	return fmt.Sprintf("%s %s %s", r.verb, strings.TrimSuffix(r.resource, "s"), r.object)
}

// failed turns an error into one for people. The text of an error about a Secret may
// repeat what is in it, so of that only the reason and the names of fields are kept.
func (s *Secrets) failed(r request, err error) error {
	status, ok := statusOf(err)
	switch {
	case !ok:
		return provider.Errorf(kindOf(err), "%s: %w", r, err)
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return provider.Errorf(provider.Unavailable, "%s: the namespace is being deleted", r)
	case policyOf(err) != "":
		return s.notAllowed(r, denial(policyOf(err), status.Message))
	case apierrors.IsForbidden(err):
		return s.forbidden(r, status.Message)
	case r.resource == "syncedsecrets" && apierrors.IsNotFound(err) && !isObjectMissing(err):
		return &rotation.Refusal{Reason: rotation.SyncNotAllowed, Err: fmt.Errorf(
			"%s: the cluster does not know the kind SyncedSecret: install the CRDs of manifests/base/crds", r)}
	case r.resource == "secrets" && apierrors.IsInvalid(err):
		return &rotation.Refusal{Reason: rotation.SecretInvalid, Err: invalid(r, status)}
	case r.resource == "secrets" && apierrors.IsRequestEntityTooLargeError(err):
		return &rotation.Refusal{Reason: rotation.SecretInvalid, Err: fmt.Errorf("%s: it is too large for the API server: list fewer files", r)}
	}
	return answered(r, err, status)
}

// answered is an error that may be gone the next time.
func answered(r request, err error, status metav1.Status) error {
	wait, _ := apierrors.SuggestsClientDelay(err)
	text := fmt.Errorf("%s: the API server answers %d %s", r, status.Code, status.Reason)
	return &provider.Error{Kind: kindOf(err), RetryAfter: time.Duration(wait) * time.Second, Err: text}
}

// forbidden tells who says no: rules about rights, a quota, or something that the
// cluster's owner installed.
func (s *Secrets) forbidden(r request, message string) error {
	switch {
	case isRight(r, message) && s.mayPass(r.object.Namespace):
		return provider.Errorf(provider.Unavailable,
			"%s: the API server says that the driver has no right, which it had: will ask again, because a server that was just started says so too", r)
	case isRight(r, message):
		return s.notAllowed(r, "the driver has no right to do so"+howTo(r.object.Namespace))
	case strings.Contains(message, "not yet ready to handle request"): // an admission plugin
		return provider.Errorf(provider.Unavailable, "%s: the API server has just been started and is not ready: will ask again", r)
	case strings.Contains(message, "exceeded quota"):
		return &rotation.Refusal{Reason: rotation.SyncNotAllowed, Err: fmt.Errorf(
			"%s: a ResourceQuota of namespace %s is used up: raise it, or delete what is not needed", r, r.object.Namespace)}
	}
	return &rotation.Refusal{Reason: rotation.SyncNotAllowed, Err: fmt.Errorf(
		"%s: an admission plugin or webhook of the cluster refuses it", r)}
}

// isRight says whether a denial comes from the rules about rights.
func isRight(r request, message string) bool {
	return strings.Contains(message, "cannot "+r.verb+" resource")
}

// mayPass says whether a right that is denied in a namespace may be there again soon: it
// was there, and has not been denied for long.
func (s *Secrets) mayPass(namespace string) bool {
	since, worked := s.worked.get(namespace, s.now())
	if worked && since.IsZero() {
		s.worked.put(namespace, s.now(), s.now().Add(startUp))
	}
	return worked
}

// notAllowed is the refusal for a namespace, whichever Secret it is about; it is
// remembered for a while.
func (s *Secrets) notAllowed(r request, why string) error {
	namespace := r.object.Namespace
	err := &rotation.Refusal{Reason: rotation.SyncNotAllowed, Err: fmt.Errorf(
		"%s %s in namespace %s: %s", r.verb, r.resource, namespace, why)}
	s.refused.put(namespace, err, s.now().Add(refusedHolds+rand.N(refusedHolds))) //nolint:gosec // jitter needs no secrecy
	return err
}

// howTo says how to allow the driver to fill Secrets.
func howTo(namespace string) string {
	return fmt.Sprintf(": install %s, which grants what is needed, and allow it in the namespace: kubectl label namespace %s %s=enabled",
		syncComponent, namespace, syncLabel)
}

// denial says why a policy denies a request. What our own policies say repeats nothing
// that stands in an object; others may.
func denial(policy, message string) string {
	if _, why, ok := strings.Cut(message, " denied request: "); ok && strings.HasPrefix(policy, ownPolicies) {
		return "policy " + policy + ": " + why
	}
	return "policy " + policy + " denies it"
}

// invalid names the fields that the API server does not accept.
func invalid(r request, status metav1.Status) error {
	var fields []string
	if status.Details != nil {
		for _, cause := range status.Details.Causes {
			if cause.Field != "" && !slices.Contains(fields, cause.Field) {
				fields = append(fields, cause.Field)
			}
		}
	}
	if r.verb == "update" && slices.Contains(fields, "type") {
		return fmt.Errorf("%s: the type of a secret cannot be changed: delete it, and the driver makes it again", r)
	}
	return fmt.Errorf("%s: the API server does not accept %s: mend secretObjects in the class, or what is stored",
		r, strings.Join(fields, ", "))
}

// policyOf is the name of the ValidatingAdmissionPolicy that denied a request, or "".
func policyOf(err error) string {
	status, _ := statusOf(err)
	_, rest, _ := strings.Cut(status.Message, "ValidatingAdmissionPolicy '")
	name, _, _ := strings.Cut(rest, "'")
	return name
}

// statusOf is the API server's answer, if err is one.
func statusOf(err error) (metav1.Status, bool) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return metav1.Status{}, false
	}
	return status.Status(), true
}
