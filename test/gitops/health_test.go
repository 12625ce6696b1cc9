package gitops

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fluxcd/pkg/apis/kustomize"
	"github.com/fluxcd/pkg/runtime/cel"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

const examples = "../../examples"

// The objects in testdata are what a real driver and API server wrote, and the same
// without a status, without a condition, and with one that is False. Beside them stands
// how healthy they are in the words of both.
var objects = []struct{ file, flux, argo, says string }{ //nolint:gochecknoglobals // a table of two tests
	{"status-mounted", "Current", "Healthy", ""},
	{"status-synced", "Current", "Healthy", ""},
	{"status-failing", "Failed", "Degraded", "StoreDenied: "},
	{"status-unsynced", "Failed", "Degraded", "SecretNotManaged: "},
	{"status-new", "", "Progressing", ""},
	{"secret-filled", "Current", "Healthy", "node-"},
	{"secret-new", "", "Progressing", ""},
	{"secret-claimed", "InProgress", "Progressing", ""},
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func object(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	read(t, filepath.Join("testdata", name+".yaml"), &o.Object)
	return o
}

// Flux's own code evaluates the expressions.
func TestFluxHealth(t *testing.T) {
	t.Parallel()
	var shop struct {
		Spec struct {
			HealthCheckExprs []kustomize.CustomHealthCheck `json:"healthCheckExprs"`
		} `json:"spec"`
	}
	read(t, filepath.Join(examples, "flux/clusters/production/shop.yaml"), &shop)
	checks := map[string]*cel.StatusEvaluator{}
	for _, check := range shop.Spec.HealthCheckExprs {
		evaluator, err := cel.NewStatusEvaluator(&check.HealthCheckExpressions)
		if err != nil {
			t.Fatal(err)
		}
		checks[check.APIVersion+" "+check.Kind] = evaluator
	}
	for _, tc := range objects {
		o := object(t, tc.file)
		check := checks[o.GetAPIVersion()+" "+o.GetKind()]
		if check == nil {
			t.Fatalf("%s: no check", tc.file)
		}
		got, err := check.Evaluate(t.Context(), o)
		if o.Object["status"] == nil { // no expression can ask for that: Flux says unknown, and looks again
			if err == nil || !strings.Contains(err.Error(), "no such attribute(s): status") {
				t.Errorf("%s: %v, %v", tc.file, got, err)
			}
			continue
		}
		if err != nil || string(got.Status) != tc.flux {
			t.Errorf("%s: %v, %v, want %s", tc.file, got, err, tc.flux)
		}
	}
}

// The scripts run as in Argo CD: with the libraries of tables and nothing else.
func TestArgoHealth(t *testing.T) {
	t.Parallel()
	var config struct {
		Data map[string]string `json:"data"`
	}
	read(t, filepath.Join(examples, "argocd/argocd-cm.yaml"), &config)
	for _, tc := range objects {
		o := object(t, tc.file)
		group := o.GroupVersionKind().Group
		script := config.Data["resource.customizations.health."+group+"_"+o.GetKind()]
		if script == "" {
			t.Fatalf("%s: no script", tc.file)
		}
		status, message := health(t, script, o)
		if status != tc.argo || message == "" || !strings.Contains(message, tc.says) {
			t.Errorf("%s: %s, %q, want %s, %q", tc.file, status, message, tc.argo, tc.says)
		}
	}
}

func health(t *testing.T, script string, o *unstructured.Unstructured) (status, message string) {
	t.Helper()
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			t.Fatal(err)
		}
	}
	l.SetGlobal("obj", luaValue(l, o.Object))
	if err := l.DoString(script); err != nil {
		t.Fatal(err)
	}
	table, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatalf("the script returns %v", l.Get(-1))
	}
	return lua.LVAsString(table.RawGetString("status")), lua.LVAsString(table.RawGetString("message"))
}

// luaValue is a value of JSON in Lua.
func luaValue(l *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case string:
		return lua.LString(v)
	case bool:
		return lua.LBool(v)
	case float64:
		return lua.LNumber(v)
	case []any:
		table := l.NewTable()
		for _, item := range v {
			table.Append(luaValue(l, item))
		}
		return table
	case map[string]any:
		table := l.NewTable()
		for name, item := range v {
			table.RawSetString(name, luaValue(l, item))
		}
		return table
	}
	return lua.LNil
}
