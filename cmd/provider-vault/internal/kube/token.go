package kube

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"time"

	"github.com/strongroom/strongroom/provider"
)

// tokenLifetime is that of a requested token, in seconds.
const tokenLifetime = 900

// tokenRequest is a TokenRequest as far as it matters here.
type tokenRequest struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Spec       tokenSpec   `json:"spec"`
	Status     tokenStatus `json:"status,omitzero"`
}

type tokenSpec struct {
	Audiences         []string `json:"audiences"`
	ExpirationSeconds int64    `json:"expirationSeconds"`
	BoundObjectRef    boundTo  `json:"boundObjectRef"`
}

type boundTo struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
}

type tokenStatus struct {
	Token   string    `json:"token"`
	Expires time.Time `json:"expirationTimestamp"`
}

// names are those that Kubernetes gives namespaces, service accounts and pods.
var names = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)

// RequestToken asks for a token of the pod's service account: for 15 minutes, bound to
// the pod, for audience, or for the API server's own audiences if that is empty. The
// error says what an operator can do.
func (c *Client) RequestToken(ctx context.Context, pod provider.Pod, audience string) (provider.Token, error) {
	if pod.UID == "" || !names.MatchString(pod.Namespace) || !names.MatchString(pod.Name) || !names.MatchString(pod.ServiceAccount) {
		return provider.Token{}, provider.Errorf(provider.Invalid, "request a token for the pod: the driver does not say which pod it is: "+
			"podInfoOnMount of the CSIDriver object must be true")
	}
	want := tokenRequest{
		APIVersion: "authentication.k8s.io/v1", Kind: "TokenRequest",
		Spec: tokenSpec{
			Audiences: []string{}, ExpirationSeconds: tokenLifetime,
			BoundObjectRef: boundTo{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
		},
	}
	if audience != "" {
		want.Spec.Audiences = []string{audience}
	}
	var got tokenRequest
	err := c.call(ctx, ask{
		method: http.MethodPost, object: want,
		path: []string{"api", "v1", "namespaces", pod.Namespace, "serviceaccounts", pod.ServiceAccount, "token"},
	}, &got)
	if err == nil && got.Status.Token == "" {
		err = errors.New("the API server answered without a token")
	}
	if err != nil {
		return provider.Token{}, tokenError(pod, err)
	}
	return provider.Token{Value: provider.Secret(got.Status.Token), Expires: got.Status.Expires}, nil
}

func tokenError(pod provider.Pod, cause error) error {
	kind, advice := advise(cause)
	err := provider.Errorf(kind, "request a token of service account %s/%s for pod %s: %w%s", pod.Namespace, pod.ServiceAccount, pod.Name, cause, advice)
	if r, ok := errors.AsType[*refusal](cause); ok && r.retryAfter > 0 {
		return &provider.Error{Kind: kind, RetryAfter: r.retryAfter, Err: err}
	}
	return err
}

// advise says what kind of failure it was, and what to do.
func advise(err error) (kind provider.Kind, advice string) {
	code := codeOf(err)
	switch {
	case code == http.StatusForbidden:
		return provider.Denied, ": apply manifests/components/provider-vault-token-request, which lets the provider do that, " +
			"or add the audience to spec.tokenRequests of the CSIDriver object, which is better: kubelet then supplies the token"
	case code == http.StatusUnauthorized:
		return provider.Denied, ": the API server does not know the provider's own token: is the volume api-access in its pod?"
	case code == http.StatusNotFound, code == http.StatusConflict:
		return provider.NotFound, ": the pod or its service account is gone, or is another by now"
	case code == http.StatusTooManyRequests:
		return provider.Throttled, ""
	case code >= 500, code == 0 && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
		return provider.Unavailable, ""
	case code == 0:
		return provider.Timeout, ": the API server did not answer in time"
	}
	return provider.Invalid, ""
}
