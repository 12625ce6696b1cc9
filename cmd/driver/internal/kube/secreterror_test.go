package kube

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
)

// Whatever an API server, a webhook or a policy says about a Secret, no value gets
// through, and the reader learns what to do.
func TestFailed(t *testing.T) {
	t.Parallel()
	const value = "hunter2"
	secrets := schema.GroupResource{Resource: "secrets"}
	forbidden := func(why string) error { return apierrors.NewForbidden(secrets, "s", errors.New(why+" "+value)) }
	ending := apierrors.NewForbidden(secrets, "s", errors.New(value))
	ending.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	bad := apierrors.NewInvalid(schema.GroupKind{Kind: "Secret"}, "s", field.ErrorList{field.Invalid(field.NewPath("data").Key("k"), value, value)})
	throttled := apierrors.NewTooManyRequests(value, 7)
	for _, tc := range []struct {
		err    error
		reason rotation.Reason // of a refusal; none: the error may pass
		says   string
	}{
		{forbidden(`User "x" cannot create resource "secrets"`), rotation.SyncNotAllowed, "create secrets in namespace ns: the driver has no right to do so: install"},
		{forbidden("not yet ready to handle request"), rotation.Unreasoned, "has just been started and is not ready"},
		{forbidden("exceeded quota: q,"), rotation.SyncNotAllowed, "ResourceQuota of namespace ns is used up"},
		{forbidden("the team's webhook"), rotation.SyncNotAllowed, "an admission plugin or webhook of the cluster refuses it"},
		{forbidden("ValidatingAdmissionPolicy 'team' with binding 'b' denied request:"), rotation.SyncNotAllowed, "create secrets in namespace ns: policy team denies it"},
		{ending, rotation.Unreasoned, "the namespace is being deleted"},
		{bad, rotation.SecretInvalid, "does not accept data[k]"},
		{apierrors.NewRequestEntityTooLargeError(value), rotation.SecretInvalid, "too large"},
		{throttled, rotation.Unreasoned, "429 TooManyRequests"},
		{apierrors.NewInternalError(errors.New(value)), rotation.Unreasoned, "create secret ns/s: the API server answers 500 InternalError"},
		{errAnswer, rotation.Unreasoned, "cannot be read"},
	} {
		s, err := NewSecrets(Config{API: &rest.Config{Host: "http://127.0.0.1:1"}})
		if err != nil {
			t.Fatal(err)
		}
		got := s.failed(request{"create", "secrets", client.ObjectKey{Namespace: "ns", Name: "s"}}, tc.err)
		if reasonOf(got) != tc.reason || !strings.Contains(got.Error(), tc.says) || strings.Contains(got.Error(), value) {
			t.Errorf("%v\nbecame %v", tc.err, got)
		}
		if wait, _ := errors.AsType[*provider.Error](got); errors.Is(tc.err, throttled) && wait.RetryAfter.Seconds() != 7 {
			t.Errorf("wait %v", wait.RetryAfter)
		}
	}
}

// An API server that was just started denies everything for a moment. Where the driver had
// its rights, it asks again soon; where it lost them for good, it says so.
func TestRightsThatWereThere(t *testing.T) {
	t.Parallel()
	s, err := NewSecrets(Config{API: &rest.Config{Host: "http://127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s.now = func() time.Time { return now }
	denied := func(namespace string) rotation.Reason {
		return reasonOf(s.failed(request{"update", "secrets", client.ObjectKey{Namespace: namespace, Name: "s"}},
			apierrors.NewForbidden(schema.GroupResource{Resource: "secrets"}, "s", errors.New(`User "x" cannot update resource "secrets"`))))
	}
	written := &fill{s: s, written: true, copy: rotation.Copy{Pod: provider.Pod{Namespace: "ns"}}}
	for range 2 {
		if _, err := written.end(nil); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if got := denied("ns"); got != rotation.Unreasoned {
				t.Fatalf("refused as %s at once", got)
			}
			now = now.Add(9 * time.Second)
		}
	}
	if _, ok := s.refused.get("ns", s.now()); ok {
		t.Error("nobody asks again for a while")
	}
	now = now.Add(5 * time.Second)
	if got := denied("ns"); got != rotation.SyncNotAllowed {
		t.Errorf("reason %q after half a minute", got)
	}
	if got := denied("other"); got != rotation.SyncNotAllowed {
		t.Errorf("reason %q where it never worked", got)
	}
}

func reasonOf(err error) rotation.Reason {
	if refusal, ok := errors.AsType[*rotation.Refusal](err); ok {
		return refusal.Reason
	}
	return rotation.Unreasoned
}

// Only our own policies are quoted.
func TestDenial(t *testing.T) {
	t.Parallel()
	own := denial("secrets-store-csi-driver-secrets", "secrets is forbidden: ValidatingAdmissionPolicy 'secrets-store-csi-driver-secrets' denied request: label it")
	if own != "policy secrets-store-csi-driver-secrets: label it" {
		t.Error(own)
	}
}
