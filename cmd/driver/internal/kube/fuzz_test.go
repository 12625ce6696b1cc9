package kube

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/cmd/driver/internal/secretdata"
	"github.com/strongroom/strongroom/provider"
)

// FuzzClass takes anything for a class, also what no CRD would let pass: what is made of
// it is bounded, and a Secret of it has a type that gives no access to the cluster.
func FuzzClass(f *testing.F) {
	for _, seed := range []string{
		`{"metadata":{"uid":"u","generation":2,"annotations":{"secrets-store.csi.x-k8s.io/refresh":"now"}},"spec":{"provider":"vault","parameters":{"objects":"x"},"rotation":{"interval":"1h30m"}}}`,
		`{"spec":{"rotation":{"interval":"9223372036854775807h","mode":"Never"},"secretObjects":[null,{"secretName":" a ","type":"Opaque","data":[null,{"objectName":"*","key":"k"}]}]}}`,
		`{"spec":{"secretObjects":[{"secretName":"a","type":" kubernetes.io/service-account-token ","data":[{"objectName":"a","key":"k"}]}]}}`,
		`{"spec":{"secretObjects":[{"secretName":"a","type":"kubernetes.io/tls","data":[{"objectName":"a","key":"tls.crt"},{"objectName":"b/c","key":"tls.key"}]}]}}`,
		`{"spec":{"rotation":{"interval":"-1s"}}}`, `{"metadata":null,"spec":null}`, `{}`,
	} {
		f.Add([]byte(seed))
	}
	files := []provider.File{{Path: "a", Contents: []byte("1")}, {Path: "b/c", Contents: []byte("2")}}
	f.Fuzz(func(t *testing.T, text []byte) {
		var class v1.SecretProviderClass
		if json.Unmarshal(text, &class) != nil {
			return
		}
		c := asClass(&class)
		if len(c.Refresh) > maxRefresh {
			t.Errorf("%d bytes of an annotation are remembered", len(c.Refresh))
		}
		for _, object := range c.Secrets {
			s, err := secretdata.Build(object, files)
			if err != nil {
				continue
			}
			if slices.Contains([]corev1.SecretType{"", corev1.SecretTypeServiceAccountToken, corev1.SecretTypeBootstrapToken}, corev1.SecretType(strings.TrimSpace(s.Type))) {
				t.Errorf("a Secret of type %q", s.Type)
			}
			if s.Name == "" || strings.ContainsAny(s.Name, "/ ") || len(s.Data) == 0 {
				t.Errorf("Secret %+v", s)
			}
		}
	})
}

// FuzzAnswer has the API server refuse a Secret with anything: what is told of it does not
// repeat what it says about the object's content.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"reason":"Invalid","code":422,"message":"Secret \"a\" is invalid: data[x]: Invalid value: \"s3cr3t\"","details":{"causes":[{"field":"data[x]","message":"Invalid value: \"s3cr3t\""}]}}`,
		`{"reason":"Forbidden","code":403,"message":"secrets \"a\" is forbidden: ValidatingAdmissionPolicy 'foreign' with binding 'b' denied request: s3cr3t"}`,
		`{"reason":"Forbidden","code":403,"message":"secrets is forbidden: User \"u\" cannot create resource \"secrets\""}`,
		`{"reason":"Forbidden","code":403,"details":{"causes":[{"reason":"NamespaceTerminating"}]}}`,
		`{"reason":"TooManyRequests","code":429,"message":"s3cr3t","details":{"retryAfterSeconds":-1}}`,
		`{"code":500,"message":"an error on the server (\"s3cr3t\") has prevented the request"}`, `{"code":409}`, `{"code":404}`, `{}`, `null`,
	} {
		f.Add([]byte(seed), true)
		f.Add([]byte(seed), false)
	}
	f.Fuzz(func(t *testing.T, text []byte, update bool) {
		var status metav1.Status
		if json.Unmarshal(text, &status) != nil {
			return
		}
		r := request{verb: "create", resource: "secrets", object: client.ObjectKey{Namespace: "ns", Name: "a"}}
		if update {
			r.verb = "update"
		}
		s := Secrets{now: time.Now, refused: newMemory[error](), probed: newMemory[bool](), worked: newMemory[time.Time]()}
		err := s.failed(r, &apierrors.StatusError{ErrStatus: status})
		if err == nil || err.Error() == "" {
			t.Fatalf("%s is no error", text)
		}
		// Names of policies and of fields are told, and what our own policies say.
		known := strings.Join(append(fieldsOf(status), policyOf(&apierrors.StatusError{ErrStatus: status}), string(status.Reason)), " ")
		if strings.Contains(err.Error(), "s3cr3t") && !strings.Contains(known, "s3cr3t") && !strings.Contains(known, ownPolicies) {
			t.Errorf("%s is told as %v", text, err)
		}
	})
}

func fieldsOf(status metav1.Status) []string {
	var all []string
	if status.Details != nil {
		for _, cause := range status.Details.Causes {
			all = append(all, cause.Field)
		}
	}
	return all
}
