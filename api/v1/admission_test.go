//go:build unix

package v1_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/yaml"

	"github.com/strongroom/strongroom/internal/groundbin"
)

// apiServer starts a real API server with the CRDs.
func apiServer(t *testing.T) client.Client {
	t.Helper()
	env := &envtest.Environment{
		BinaryAssetsDirectory:    groundbin.Folder(t),
		CRDDirectoryPaths:        []string{crdDir},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: 2 * time.Minute, // a busy machine may take more than the 20 s that are the default
		CRDInstallOptions:        envtest.CRDInstallOptions{MaxTime: 2 * time.Minute},
	}
	config, err := env.Start()
	t.Cleanup(func() {
		if stopErr := env.Stop(); stopErr != nil {
			t.Log(stopErr)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What the API server says of classes, before any driver sees them.
func TestAdmission(t *testing.T) {
	c := apiServer(t)
	t.Run("accepted", func(t *testing.T) { accepted(t, c) })
	t.Run("refused", func(t *testing.T) { refused(t, c) })
	t.Run("examples", func(t *testing.T) { examples(t, c) })
	t.Run("before", func(t *testing.T) { before(t, c) })
}

func classOf(t *testing.T, version, spec string) *unstructured.Unstructured {
	t.Helper()
	object := map[string]any{}
	if err := yaml.Unmarshal([]byte(spec), &object); err != nil {
		t.Fatal(err)
	}
	class := &unstructured.Unstructured{Object: map[string]any{"spec": object}}
	class.SetAPIVersion("secrets-store.csi.x-k8s.io/" + version)
	class.SetKind("SecretProviderClass")
	class.SetNamespace("default")
	class.SetGenerateName("class-")
	return class
}

// try asks the API server as kubectl apply does.
func try(t *testing.T, c client.Client, class client.Object) error {
	t.Helper()
	return c.Create(t.Context(), class, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
}

// accepted are classes that a driver mounts, however odd they are: with a volume that is
// mounted, no Secret that cannot be made is a reason to refuse them.
func accepted(t *testing.T, c client.Client) {
	for name, spec := range map[string]string{
		"small":                 `{provider: vault, parameters: {objects: ""}}`,
		"objects from the pod":  `{provider: azure, parameters: {usePodIdentity: "false"}}`,
		"any provider":          `{provider: my_Own-1, parameters: {a: b}}`,
		"longest provider":      `{provider: ` + strings.Repeat("p", 30) + `, parameters: {a: b}}`,
		"empty parameter":       `{provider: vault, parameters: {"": ""}}`,
		"foreign parameters":    `{provider: vault, parameters: {Objects: x, unknown: z}}`,
		"no secrets":            `{provider: vault, parameters: {a: b}, secretObjects: []}`,
		"nameless secret":       `{provider: vault, parameters: {a: b}, secretObjects: [{}]}`,
		"name with spaces":      `{provider: vault, parameters: {a: b}, secretObjects: [{secretName: " db ", type: Opaque, data: [{objectName: x, key: k}]}]}`,
		"name that cannot be":   `{provider: vault, parameters: {a: b}, secretObjects: [{secretName: A_B, type: Opaque, data: [{objectName: x, key: k}]}]}`,
		"a key twice":           `{provider: vault, parameters: {a: b}, secretObjects: [{secretName: db, data: [{objectName: x, key: k}, {objectName: z, key: k}]}]}`,
		"a secret twice":        `{provider: vault, parameters: {a: b}, secretObjects: [{secretName: db}, {secretName: db}]}`,
		"rotation":              `{provider: vault, parameters: {a: b}, rotation: {mode: Periodic, interval: 1h30m}}`,
		"rotation of a kind":    `{provider: vault, parameters: {a: b}, rotation: {mode: Never}}`,
		"many secrets and keys": `{provider: vault, parameters: {a: b}, secretObjects: [` + strings.Repeat(`{secretName: s, data: [`+strings.Repeat(`{objectName: o, key: k},`, 100)+`]},`, 100) + `]}`,
	} {
		for _, version := range []string{"v1", "v1alpha1"} {
			if err := try(t, c, classOf(t, version, spec)); err != nil {
				t.Errorf("%s, %s: %v", name, version, err)
			}
		}
	}
}

// refused are classes that no driver ever mounted, and misspellings; the answer says what
// to do.
func refused(t *testing.T, c client.Client) {
	for name, tc := range map[string]struct{ spec, says string }{
		"nothing":           {`{}`, "spec.provider is needed"},
		"no provider":       {`{parameters: {a: b}}`, "spec.provider is needed"},
		"empty provider":    {`{provider: "", parameters: {a: b}}`, "spec.provider is needed"},
		"provider's path":   {`{provider: ../x, parameters: {a: b}}`, "must consist of letters, digits, - and _"},
		"provider's spaces": {`{provider: "vault ", parameters: {a: b}}`, "must consist of letters, digits, - and _"},
		"long provider":     {`{provider: ` + strings.Repeat("p", 31) + `, parameters: {a: b}}`, "at most 30"},
		"no parameters":     {`{provider: vault}`, "spec.parameters is needed"},
		"empty parameters":  {`{provider: vault, parameters: {}}`, "spec.parameters is needed"},
		"misspelt field":    {`{provider: vault, parametres: {a: b}, parameters: {a: b}}`, `unknown field "spec.parametres"`},
		"misspelt key":      {`{provider: vault, parameters: {a: b}, secretObjects: [{secretname: x}]}`, `unknown field "spec.secretObjects[0].secretname"`},
		"misplaced objects": {`{provider: vault, parameters: {a: b}, objects: x}`, `unknown field "spec.objects"`},
		"boolean":           {`{provider: azure, parameters: {useVMManagedIdentity: true}}`, "must be of type string"},
		"list of objects":   {`{provider: vault, parameters: {objects: [x]}}`, "must be of type string"},
		"rotation mode":     {`{provider: vault, parameters: {a: b}, rotation: {mode: never}}`, `supported values: "Periodic", "Never"`},
		"rotation interval": {`{provider: vault, parameters: {a: b}, rotation: {interval: 10}}`, "must be of type string"},
		"short interval":    {`{provider: vault, parameters: {a: b}, rotation: {interval: 1s}}`, "must be a duration from 5s"},
	} {
		for _, version := range []string{"v1", "v1alpha1"} {
			if err := try(t, c, classOf(t, version, tc.spec)); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s, %s: %v, want %q", name, version, err, tc.says)
			}
		}
	}
}

// examples are all classes of documentation and examples, and those that the offline
// check has nothing against.
func examples(t *testing.T, c client.Client) {
	found := 0
	for _, root := range []string{"../../README.md", "../../docs", "../../examples", "../../test/demo.yaml", "../../cmd/strongroomctl/internal/lint/testdata/valid"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".md") && !strings.HasSuffix(path, ".yaml") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, class := range classesIn(text, strings.HasSuffix(path, ".md")) {
				found++
				class.SetNamespace("default")
				class.SetName("example")
				class.SetResourceVersion("")
				class.SetUID("")
				if err := c.Create(t.Context(), class, client.DryRunAll); err != nil {
					t.Errorf("%s: %v", path, err)
				}
			}
			return nil
		})
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if found < 20 {
		t.Errorf("only %d classes were found", found)
	}
}

var (
	fence    = regexp.MustCompile("(?ms)^```[a-z][^\n]*\n(.*?)^```")
	document = regexp.MustCompile(`(?m)^(---|[A-Z]+|.*<<-?'?[A-Z]+'?.*)$`) // also where a shell's document begins and ends
)

// classesIn finds classes in a file, in one of Markdown in its blocks.
func classesIn(text []byte, markdown bool) (classes []*unstructured.Unstructured) {
	blocks := [][]byte{text}
	if markdown {
		blocks = nil
		for _, block := range fence.FindAllSubmatch(text, -1) {
			blocks = append(blocks, block[1])
		}
	}
	for _, block := range blocks {
		for _, part := range document.Split(string(bytes.ReplaceAll(block, []byte("\r"), nil)), -1) {
			object := map[string]any{}
			if yaml.Unmarshal([]byte(part), &object) != nil || object["kind"] != "SecretProviderClass" || object["spec"] == nil {
				continue
			}
			version, _ := object["apiVersion"].(string)
			if strings.HasPrefix(version, "secrets-store.csi.x-k8s.io/") {
				classes = append(classes, &unstructured.Unstructured{Object: object})
			}
		}
	}
	return classes
}

// before is a class that was there before the rules were: it stays as it is and can be
// annotated, which also a driver of ours needs for a refresh, and be mended.
func before(t *testing.T, c client.Client) {
	class := classOf(t, "v1", `{provider: "a b"}`)
	class.SetGenerateName("")
	class.SetName("before")
	withoutRules(t, c, func() bool { return c.Create(t.Context(), class) == nil })
	stays := func() bool { return try(t, c, classOf(t, "v1", `{}`)) != nil }
	if !waitFor(t, stays) {
		t.Fatal("the rules are not back")
	}
	class.SetAnnotations(map[string]string{"secrets-store.csi.x-k8s.io/refresh": "1"})
	if err := c.Update(t.Context(), class); err != nil {
		t.Errorf("annotate a class that was there before: %v", err)
	}
	if err := unstructured.SetNestedField(class.Object, "b c", "spec", "provider"); err != nil {
		t.Fatal(err)
	}
	if err := c.Update(t.Context(), class.DeepCopy()); err == nil {
		t.Error("its spec was made wrong in another way")
	}
	class.Object["spec"] = classOf(t, "v1", `{provider: vault, parameters: {a: b}}`).Object["spec"]
	if err := c.Update(t.Context(), class); err != nil {
		t.Errorf("mend it: %v", err)
	}
}

// withoutRules does something while the API server has no rules for classes.
func withoutRules(t *testing.T, c client.Client, do func() bool) {
	t.Helper()
	with := &unstructured.Unstructured{}
	with.SetAPIVersion("apiextensions.k8s.io/v1")
	with.SetKind("CustomResourceDefinition")
	if err := c.Get(t.Context(), client.ObjectKey{Name: "secretproviderclasses.secrets-store.csi.x-k8s.io"}, with); err != nil {
		t.Fatal(err)
	}
	without := with.DeepCopy()
	for _, version := range without.Object["spec"].(map[string]any)["versions"].([]any) {
		spec := []string{"schema", "openAPIV3Schema", "properties", "spec"}
		unstructured.RemoveNestedField(version.(map[string]any), append(slices.Clone(spec), "x-kubernetes-validations")...)
		unstructured.RemoveNestedField(version.(map[string]any), append(slices.Clone(spec), "properties", "provider", "x-kubernetes-validations")...)
	}
	if err := c.Update(t.Context(), without); err != nil {
		t.Fatal(err)
	}
	if !waitFor(t, do) {
		t.Fatal("the rules are still there")
	}
	with.SetResourceVersion(without.GetResourceVersion())
	if err := c.Update(t.Context(), with); err != nil {
		t.Fatal(err)
	}
}

// waitFor waits until something is so.
func waitFor(t *testing.T, is func() bool) bool {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !is() {
		if time.Now().After(deadline) {
			return false
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-t.Context().Done():
			return false
		}
	}
	return true
}
