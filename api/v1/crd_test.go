package v1_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	v1 "github.com/strongroom/strongroom/api/v1"
)

const crdDir = "../../manifests/base/crds"

// schema is an OpenAPI schema.
type schema map[string]any

type version struct {
	Name               string         `json:"name"`
	Served             bool           `json:"served"`
	Storage            bool           `json:"storage"`
	Deprecated         bool           `json:"deprecated"`
	DeprecationWarning string         `json:"deprecationWarning"`
	Subresources       map[string]any `json:"subresources"`
	Columns            []column       `json:"additionalPrinterColumns"`
	Schema             struct {
		OpenAPIV3Schema schema `json:"openAPIV3Schema"`
	} `json:"schema"`
}

type column struct {
	Name string `json:"name"`
}

type crd struct {
	Spec struct {
		Group      string         `json:"group"`
		Scope      string         `json:"scope"`
		Names      map[string]any `json:"names"`
		Conversion any            `json:"conversion"`
		Versions   []version      `json:"versions"`
	} `json:"spec"`
}

func readCRD(t *testing.T, plural string) crd {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(crdDir, "secrets-store.csi.x-k8s.io_"+plural+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var c crd
	if err := yaml.Unmarshal(data, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// shape flattens a schema to path -> type, and reports what existing objects could
// trip over: a required field or any kind of validation. What upstream does not have may
// be validated.
func shape(t *testing.T, path string, s schema, into map[string]string) {
	t.Helper()
	kind, _ := s["type"].(string)
	into[path] = kind
	for key, value := range s {
		switch key {
		case "type", "description":
		case "properties":
			for name, sub := range value.(map[string]any) {
				shape(t, path+"."+name, sub.(map[string]any), into)
			}
		case "items":
			shape(t, path+"[]", value.(map[string]any), into)
		case "additionalProperties":
			shape(t, path+"{}", value.(map[string]any), into)
		default:
			if isNew(path) {
				continue
			}
			t.Errorf("%s has %s, which would reject objects accepted so far", path, key)
		}
	}
	described := path == ".metadata" || s["description"] != nil || path[max(0, len(path)-2):] == "{}"
	if !described {
		t.Errorf("%s has no description", path)
	}
}

// isNew says whether something may be validated: what upstream does not have, and what no
// driver ever mounted, which TestAdmission looks at.
func isNew(path string) bool {
	return path == ".spec" || path == ".spec.provider" || strings.HasPrefix(path, ".spec.rotation") || strings.HasPrefix(path, ".status.conditions")
}

func with(base, more map[string]string) map[string]string {
	out := maps.Clone(base)
	maps.Copy(out, more)
	return out
}

func object() map[string]string {
	return map[string]string{"": "object", ".apiVersion": "string", ".kind": "string", ".metadata": "object"}
}

func classShape() map[string]string {
	return with(object(), map[string]string{
		".spec": "object", ".spec.provider": "string", ".spec.parameters": "object", ".spec.parameters{}": "string",
		".spec.secretObjects": "array", ".spec.secretObjects[]": "object",
		".spec.secretObjects[].secretName": "string", ".spec.secretObjects[].type": "string",
		".spec.secretObjects[].labels": "object", ".spec.secretObjects[].labels{}": "string",
		".spec.secretObjects[].annotations": "object", ".spec.secretObjects[].annotations{}": "string",
		".spec.secretObjects[].data": "array", ".spec.secretObjects[].data[]": "object",
		".spec.secretObjects[].data[].objectName": "string", ".spec.secretObjects[].data[].key": "string",
		".spec.rotation": "object", ".spec.rotation.mode": "string", ".spec.rotation.interval": "string",
		".status": "object",
	})
}

func oldClassShape() map[string]string {
	return with(classShape(), map[string]string{
		".status.byPod": "array", ".status.byPod[]": "object",
		".status.byPod[].id": "string", ".status.byPod[].namespace": "string",
	})
}

func statusShape() map[string]string {
	return with(object(), map[string]string{
		".status": "object", ".status.podName": "string", ".status.secretProviderClassName": "string",
		".status.mounted": "boolean", ".status.targetPath": "string",
		".status.objects": "array", ".status.objects[]": "object",
		".status.objects[].id": "string", ".status.objects[].version": "string",
		".status.conditions": "array", ".status.conditions[]": "object",
		".status.conditions[].type": "string", ".status.conditions[].status": "string", ".status.conditions[].reason": "string",
		".status.conditions[].message": "string", ".status.conditions[].observedGeneration": "integer",
		".status.conditions[].lastTransitionTime": "string",
	})
}

func TestClassCRD(t *testing.T) {
	c := readCRD(t, "secretproviderclasses")
	checkNames(t, c, "SecretProviderClass", "secretproviderclass")
	checkShapes(t, c, classShape(), oldClassShape())
	checkVersions(t, c, "secrets-store.csi.x-k8s.io/v1alpha1 is deprecated. Use secrets-store.csi.x-k8s.io/v1 instead.")
}

func TestPodStatusCRD(t *testing.T) {
	c := readCRD(t, "secretproviderclasspodstatuses")
	checkNames(t, c, "SecretProviderClassPodStatus", "secretproviderclasspodstatus")
	checkShapes(t, c, statusShape(), statusShape())
	checkVersions(t, c, "")
}

func checkNames(t *testing.T, c crd, kind, singular string) {
	t.Helper()
	if c.Spec.Group != v1.GroupVersion.Group || c.Spec.Scope != "Namespaced" || c.Spec.Conversion != nil {
		t.Errorf("group %s, scope %s, conversion %v", c.Spec.Group, c.Spec.Scope, c.Spec.Conversion)
	}
	n := c.Spec.Names
	if n["kind"] != kind || n["listKind"] != kind+"List" || n["singular"] != singular || n["plural"] != singular+"es" {
		t.Errorf("names = %v", n)
	}
}

func checkShapes(t *testing.T, c crd, want ...map[string]string) {
	t.Helper()
	for i, version := range c.Spec.Versions {
		got := map[string]string{}
		shape(t, "", version.Schema.OpenAPIV3Schema, got)
		if diff := cmp.Diff(want[i], got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", version.Name, diff)
		}
	}
}

func checkVersions(t *testing.T, c crd, warning string) {
	t.Helper()
	for i := range c.Spec.Versions {
		c.Spec.Versions[i].Schema.OpenAPIV3Schema, c.Spec.Versions[i].Columns = nil, nil
		if len(c.Spec.Versions[i].Subresources) == 0 {
			c.Spec.Versions[i].Subresources = nil
		}
	}
	want := []version{
		{Name: "v1", Served: true, Storage: true},
		{Name: "v1alpha1", Served: true, Deprecated: true, DeprecationWarning: warning},
	}
	if diff := cmp.Diff(want, c.Spec.Versions); diff != "" {
		t.Errorf("versions (-want +got):\n%s", diff)
	}
}

// What an empty object and a full one look like as JSON is part of the contract.
func TestJSON(t *testing.T) {
	full := `{"metadata":{"name":"db","namespace":"shop"},"spec":{"provider":"vault","parameters":{"objects":"[]"},` +
		`"secretObjects":[{"secretName":"db","type":"Opaque","labels":{"a":"b"},"annotations":{"c":"d"},` +
		`"data":[{"objectName":"password","key":"pw"}]}]},"status":{}}`
	for _, want := range []string{`{"metadata":{},"spec":{},"status":{}}`, full} {
		var c v1.SecretProviderClass
		if err := json.Unmarshal([]byte(want), &c); err != nil {
			t.Fatal(err)
		}
		got, err := json.Marshal(c.DeepCopy())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

func TestAddToScheme(t *testing.T) {
	s := runtime.NewScheme()
	if err := v1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"SecretProviderClass", "SecretProviderClassPodStatus", "SyncedSecret"} {
		for _, k := range []string{kind, kind + "List"} {
			if !s.Recognizes(v1.GroupVersion.WithKind(k)) {
				t.Errorf("%s is unknown", k)
			}
		}
	}
}

// Every field of our kinds says what it is for: kubectl explain shows it.
func TestEveryFieldIsDescribed(t *testing.T) {
	t.Parallel()
	fields := 0
	for _, plural := range []string{"secretproviderclasses", "secretproviderclasspodstatuses", "syncedsecrets"} {
		for _, version := range readCRD(t, plural).Spec.Versions {
			if version.Schema.OpenAPIV3Schema["description"] == nil {
				t.Errorf("%s %s is not described", plural, version.Name)
			}
			fields += described(t, plural+" "+version.Name, version.Schema.OpenAPIV3Schema)
		}
	}
	if fields < 80 {
		t.Errorf("only %d fields were seen", fields)
	}
}

// described counts fields, and fails the test for those without a description. That of
// metadata is the API server's own.
func described(t *testing.T, path string, s schema) (fields int) {
	t.Helper()
	properties, _ := s["properties"].(map[string]any)
	for name, value := range properties {
		field := value.(map[string]any)
		if text, _ := field["description"].(string); strings.TrimSpace(text) == "" && name != "metadata" {
			t.Errorf("%s.%s is not described", path, name)
		}
		fields += 1 + described(t, path+"."+name, field)
	}
	for _, inner := range []string{"items", "additionalProperties"} {
		if value, ok := s[inner].(map[string]any); ok {
			fields += described(t, path+"[]", value)
		}
	}
	return fields
}

// Each kind has a short name, and columns that say what people look for.
func TestNamesAndColumns(t *testing.T) {
	t.Parallel()
	for plural, want := range map[string]struct{ short, columns string }{
		"secretproviderclasses":          {"spc", "Provider Interval Age"},
		"secretproviderclasspodstatuses": {"spcps", "Pod Class Node Ready Reason Age"},
		"syncedsecrets":                  {"ssec", "Class Node Fetched Age"},
	} {
		c := readCRD(t, plural)
		if diff := cmp.Diff([]any{want.short}, c.Spec.Names["shortNames"]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", plural, diff)
		}
		for _, version := range c.Spec.Versions {
			var columns []string
			for _, column := range version.Columns {
				columns = append(columns, column.Name)
			}
			if diff := cmp.Diff(want.columns, strings.Join(columns, " ")); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", plural, version.Name, diff)
			}
		}
	}
}
