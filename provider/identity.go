package provider

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// claims are what a service account token says of whom it is for. Only a store can
// verify its signature.
type claims struct {
	Subject    string      `json:"sub"`
	Expires    json.Number `json:"exp"`
	Kubernetes struct {
		ServiceAccount struct {
			UID string `json:"uid"`
		} `json:"serviceaccount"`
		Pod struct {
			UID string `json:"uid"`
		} `json:"pod"`
	} `json:"kubernetes.io"`
}

// CheckToken refuses a token that cannot be the pod's own: one that has expired, or
// that names another service account or another pod. It returns the UID of the
// service account that the token names, which may be empty. The signature is left to
// the store: never take an identity from a token, only compare.
func (p Pod) CheckToken(t Token) (accountUID string, err error) {
	c, err := readClaims(string(t.Value))
	if err != nil {
		return "", err
	}
	expires := c.expiry(t.Expires)
	own := "system:serviceaccount:" + p.Namespace + ":" + p.ServiceAccount
	switch {
	case !expires.IsZero() && !time.Now().Before(expires):
		return "", Errorf(Denied, "the pod's service account token expired at %s: kubelet supplies a new one with the next republish, "+
			"which needs spec.requiresRepublish of the CSIDriver object", expires.UTC().Format(time.RFC3339))
	case c.Subject != own:
		return "", Errorf(Denied, "the service account token is not one of %s, which is what the pod runs as: it is not used", own)
	case p.UID != "" && c.Kubernetes.Pod.UID != "" && c.Kubernetes.Pod.UID != p.UID:
		return "", Errorf(Denied, "the service account token belongs to another pod than %s/%s with UID %s: it is not used", p.Namespace, p.Name, p.UID)
	}
	return c.Kubernetes.ServiceAccount.UID, nil
}

// expiry is when a token ends, by its claims or by what came with it.
func (c *claims) expiry(told time.Time) time.Time {
	seconds, err := c.Expires.Float64()
	if err != nil || seconds <= 0 || seconds > 1e11 {
		return told
	}
	if at := time.Unix(int64(seconds), 0); told.IsZero() || at.Before(told) {
		return at
	}
	return told
}

// readClaims never quotes what it could not read.
func readClaims(token string) (c claims, err error) {
	bad := Errorf(Denied, "the pod's service account token is not a JSON web token: it is not used")
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return c, bad
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || json.Unmarshal(text, &c) != nil {
		return claims{}, bad
	}
	return c, nil
}
