package manifests

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const (
	chartFolder = "../../charts/strongroom"
	chartData   = "../../charts/testdata"
	helmBinary  = "../../bin/tools/helm"
)

// helm runs it with no cluster, and with folders of its own.
func helm(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	if _, missing := os.Stat(helmBinary); missing != nil {
		t.Fatalf("%v: build it with: make tools", missing)
	}
	cmd := exec.CommandContext(t.Context(), helmBinary, args...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG=/dev/null")
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	err = cmd.Run()
	return out.String(), problems.String(), err
}

// installed is what helm would apply, for a cluster of 1.34 unless the flags say otherwise.
func installed(t *testing.T, flags ...string) []object {
	t.Helper()
	args := []string{"template", "strongroom", chartFolder, "--namespace", "kube-system", "--kube-version", "v1.34.0"}
	out, problems, err := helm(t, append(args, flags...)...)
	if err != nil {
		t.Fatalf("helm template %v: %v: %s", flags, err, problems)
	}
	return documents(t, []byte(out))
}

// named are the objects by kind, namespace and name.
func named(t *testing.T, all []object) map[string]map[string]any {
	t.Helper()
	found := map[string]map[string]any{}
	for _, o := range all {
		var whole map[string]any
		decode(t, o, &whole)
		if o.kind == "" {
			continue // comments alone
		}
		meta, _ := whole["metadata"].(map[string]any)
		key := fmt.Sprintf("%s %v/%v", o.kind, meta["namespace"], meta["name"])
		if found[key] != nil {
			t.Errorf("%s is there twice", key)
		}
		found[key] = whole
	}
	return found
}

// ownLabels are those that the chart gives to every object; nothing else may differ.
func ownLabels() []string {
	return []string{
		"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "app.kubernetes.io/name",
		"app.kubernetes.io/part-of", "app.kubernetes.io/version", "helm.sh/chart",
	}
}

// plain is an object of the chart without what it has more than that of kustomize.
func plain(fromChart, fromKustomize map[string]any) map[string]any {
	strip := func(field string, keys ...string) {
		meta, _ := fromChart["metadata"].(map[string]any)
		theirs, _ := fromKustomize["metadata"].(map[string]any)
		have, _ := meta[field].(map[string]any)
		want, _ := theirs[field].(map[string]any)
		for _, key := range keys {
			if _, ok := want[key]; !ok {
				delete(have, key)
			}
		}
		if len(have) == 0 {
			delete(meta, field)
		}
	}
	strip("labels", ownLabels()...)
	if fromChart["kind"] == "CustomResourceDefinition" {
		strip("annotations", "helm.sh/resource-policy", "argocd.argoproj.io/sync-options")
	}
	return fromChart
}

// differences are the paths at which two values differ, and both of them.
func differences(path string, chart, kustomize any) []string {
	if a, ok := chart.(map[string]any); ok {
		if b, ok := kustomize.(map[string]any); ok {
			var all []string
			keys := slices.Collect(maps.Keys(a))
			for key := range b {
				if _, ok := a[key]; !ok {
					keys = append(keys, key)
				}
			}
			slices.Sort(keys)
			for _, key := range keys {
				all = append(all, differences(path+"."+key, a[key], b[key])...)
			}
			return all
		}
	}
	if reflect.DeepEqual(chart, kustomize) {
		return nil
	}
	return []string{fmt.Sprintf("%s: the chart has %v, kustomize %v", path, chart, kustomize)}
}

func compare(chart, kustomize map[string]map[string]any) []string {
	var problems []string
	for key, theirs := range kustomize {
		ours, ok := chart[key]
		if !ok {
			problems = append(problems, "the chart lacks "+key)
			continue
		}
		problems = append(problems, differences(key, plain(ours, theirs), theirs)...)
	}
	for key := range chart {
		if _, ok := kustomize[key]; !ok {
			problems = append(problems, "only the chart has "+key)
		}
	}
	slices.Sort(problems)
	return problems
}

// same are the values of the chart that mean the same as a kustomization.
func same() map[string][]string {
	const vault, azure, rotation = "providers.vault.enabled=true", "providers.azure.enabled=true", "enableSecretRotation=true"
	return map[string][]string{
		"base":                                   nil,
		"overlay-vault":                          {vault, rotation},
		"overlay-azure":                          {azure, rotation},
		"component-rotation":                     {rotation},
		"component-provider-vault":               {vault},
		"component-provider-azure":               {azure},
		"component-provider-vault-token-request": {vault, "providers.vault.allowTokenRequest=true"},
		"component-token-in-secrets":             {"tokenInSecrets=true"},
		"component-sync-secrets":                 {"syncSecret.byLabel=true"},
		"component-sync-secrets-everywhere":      {"syncSecret.enabled=true"},
		"component-content-hash":                 {"syncSecret.contentHash=true"},
		"component-network-policy":               {vault, "networkPolicy.enabled=true"},
	}
}

// What the chart installs is what kustomize does, by its defaults and by its switches.
func TestChartIsKustomize(t *testing.T) {
	for _, c := range choices(t) {
		values, ok := same()[c.name]
		if strings.HasPrefix(c.name, "overlay-test") {
			continue // for tests alone
		}
		t.Run(c.name, func(t *testing.T) {
			if !ok {
				t.Fatal("no values of the chart mean this: add them to the chart and to the table")
			}
			if c.name == "component-network-policy" { // whose policy for the Vault provider the chart has with that provider
				c.path = withComponent(t, "provider-vault", "network-policy")
			}
			flags := []string{}
			for _, v := range values {
				flags = append(flags, "--set", v)
			}
			for _, problem := range compare(named(t, installed(t, flags...)), named(t, render(t, c))) {
				t.Error(problem)
			}
		})
	}
}

// Monitoring is a kustomization of its own. Its dashboard is not in the chart.
func TestChartMonitoring(t *testing.T) {
	want := named(t, render(t, choice{path: filepath.Join(folder, "monitoring")}))
	delete(want, "ConfigMap kube-system/strongroom-dashboard")
	base := named(t, installed(t, "--set", "providers.vault.enabled=true,providers.azure.enabled=true"))
	got := named(t, installed(t, "--set", "providers.vault.enabled=true,providers.azure.enabled=true,monitoring.podMonitors=true,monitoring.rules=true"))
	maps.DeleteFunc(got, func(key string, _ map[string]any) bool { return base[key] != nil })
	for _, problem := range compare(got, want) {
		t.Error(problem)
	}
}

// The comparison finds what it is for.
func TestChartDifferences(t *testing.T) {
	fresh := func() map[string]map[string]any {
		return named(t, []object{{"ConfigMap", []byte("{kind: ConfigMap, metadata: {name: a, labels: {app: b}}, data: {c: d}, list: [1, 2]}")}})
	}
	const key = "ConfigMap <nil>/a"
	for name, change := range map[string]func(map[string]map[string]any){
		"missing":        func(all map[string]map[string]any) { delete(all, key) },
		"more":           func(all map[string]map[string]any) { all["b"] = map[string]any{} },
		"a value":        func(all map[string]map[string]any) { all[key]["data"] = map[string]any{"c": "e"} },
		"no value":       func(all map[string]map[string]any) { delete(all[key], "data") },
		"another value":  func(all map[string]map[string]any) { all[key]["more"] = true },
		"an order":       func(all map[string]map[string]any) { all[key]["list"] = []any{2.0, 1.0} },
		"a label":        func(all map[string]map[string]any) { all[key]["metadata"].(map[string]any)["labels"] = nil },
		"an added label": func(all map[string]map[string]any) { label(all[key])["helm"] = "x" },
	} {
		changed := fresh()
		change(changed)
		if len(compare(changed, fresh())) == 0 {
			t.Errorf("%s: not seen", name)
		}
	}
	ours := fresh()
	label(ours[key])["helm.sh/chart"] = "strongroom-1.0.0"
	if problems := compare(ours, fresh()); len(problems) > 0 {
		t.Error(problems)
	}
}

func label(o map[string]any) map[string]any {
	return o["metadata"].(map[string]any)["labels"].(map[string]any)
}

// Values files of users: what they install other than the base, and what they are told.
func TestChartGolden(t *testing.T) {
	for name, same := range map[string]string{"default": "", "upstream": "commonLabels.team=platform", "everything": "monitoring.rules=true,monitoring.labels.release=prometheus"} {
		t.Run(name, func(t *testing.T) {
			values := filepath.Join(chartData, name+".values.yaml")
			base := named(t, installed(t, "--set", same))
			got := named(t, installed(t, "--values", values))
			text := notes(t, "--values", values)
			for _, key := range slices.Sorted(maps.Keys(base)) {
				if got[key] == nil {
					text += "---\n# missing: " + key + "\n"
				}
			}
			for _, key := range slices.Sorted(maps.Keys(got)) {
				if reflect.DeepEqual(got[key], base[key]) {
					continue
				}
				object, err := yaml.Marshal(got[key])
				if err != nil {
					t.Fatal(err)
				}
				text += "---\n" + string(object)
			}
			golden(t, filepath.Join("..", chartData, name), text) // from the folder testdata
		})
	}
}

// notes are what helm says after it has installed.
func notes(t *testing.T, flags ...string) string {
	t.Helper()
	args := []string{"install", "strongroom", chartFolder, "--namespace", "kube-system", "--dry-run=client"}
	out, problems, err := helm(t, append(args, flags...)...)
	if err != nil {
		t.Fatalf("helm install %v: %v: %s", flags, err, problems)
	}
	_, text, ok := strings.Cut(out, "\nNOTES:\n")
	if !ok {
		t.Fatalf("no notes in\n%s", out)
	}
	return strings.TrimRight(text, "\n") + "\n"
}

// A value that needs another one to mean something says so.
func TestChartNotes(t *testing.T) {
	for values, want := range map[string]string{
		"syncSecret.contentHash=true":                         "syncSecret.contentHash has no effect",
		"rotationPollInterval=5m":                             "rotationPollInterval has no effect",
		"syncSecret.contentHash=true,syncSecret.byLabel=true": "",
		"rotationPollInterval=5m,enableSecretRotation=true":   "",
		"syncSecret.enabled=true,syncSecret.namespaces={a}":   "syncSecret.namespaces has no effect",
		"crds.install=false":                                  "The CRDs are not installed",
		"linux.enabled=false":                                 "no driver is installed",
		"linux.driver.resources.limits.memory=1Gi":            "limits.memory is 1Gi",
	} {
		_, of, _ := strings.Cut(notes(t, "--set", values), "Of your values:")
		if (want == "") != (of == "") || !strings.Contains(of, want) {
			t.Errorf("%s: the notes say %q, want %q", values, of, want)
		}
	}
}

// What is in the environment of a provider is what the values say, whatever YAML takes it for.
func TestChartSettings(t *testing.T) {
	file := filepath.Join(t.TempDir(), "values.yaml")
	text := "providers: {vault: {enabled: true, settings: {A: 1000000, B: true, C: \"0600\", D: 1.5, E: \"a\\nb\", F: null}}}"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := named(t, installed(t, "--values", file))["ConfigMap kube-system/vault-csi-provider"]
	want := map[string]any{"A": "1000000", "B": "true", "C": "0600", "D": "1.5", "E": "a\nb"}
	if !reflect.DeepEqual(settings["data"], any(want)) {
		t.Errorf("the settings are %v, want %v", settings["data"], want)
	}
}

// upstreamValues is the file that the upstream chart has, where its module can be had.
func upstreamValues(t *testing.T) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/secrets-store-csi-driver")
	cmd.Dir = "../upstream"
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOPROXY=off")
	out, err := cmd.Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		t.Skip("NOT SHOWN: the module of the upstream driver cannot be had here")
	}
	return filepath.Join(dir, "charts/secrets-store-csi-driver/values.yaml")
}

// The whole of upstream's own values file installs, and no program of upstream's with it.
func TestChartTakesUpstreamValues(t *testing.T) {
	file := upstreamValues(t)
	for _, o := range installed(t, "--values", file) {
		if bytes.Contains(o.yaml, []byte("csi-secrets-store/driver")) || bytes.Contains(o.yaml, []byte("hook")) {
			t.Errorf("this is upstream's:\n%s", o.yaml)
		}
	}
	text := notes(t, "--values", file)
	for _, key := range []string{"linux.image ", "linux.registrarImage", "linux.livenessProbeImage", "linux.crds.image", "windows ", "rbac.pspEnabled", "providerHealthCheck "} {
		if !strings.Contains(text, "- "+key) {
			t.Errorf("the notes do not name %q:\n%s", key, text)
		}
	}
}

// A typo is told at once.
func TestChartSchema(t *testing.T) {
	for _, bad := range []string{
		"enableSecretRotaton=true", "providers.valt.enabled=true", "providers.vault.enable=true", "linux.kubeletRootdir=/a",
		"syncSecret.namespace={a}", "syncSecret.namespaces={A_b}", "crds.instal=false", "linux.image.repo=a", "rotationPollInterval=5",
		"linux.metricsAddr=8095", "linux.kubeletRootDir=var", "tokenRequests[0].audiences=a", "linux.image.pullPolicy=Sometimes",
		"providers.azure.healthzPort=0", "linux.image.digest=abc", "monitoring.enabled=true", "enableSecretRotation=yes",
	} {
		_, problems, err := helm(t, "template", "strongroom", chartFolder, "--set", bad)
		key := strings.FieldsFunc(bad, func(r rune) bool { return r == '=' || r == '.' || r == '[' })
		if err == nil {
			t.Errorf("%s is taken", bad)
		} else if !strings.Contains(problems, key[0]) {
			t.Errorf("%s: the error does not name it: %s", bad, problems)
		}
	}
	for _, good := range []string{
		"rotationPollInterval=1h30m", "rotationPollInterval=", "filteredWatchSecret=true", "syncSecret.namespaces={*}", "syncSecret.namespaces={a,b-1}",
		"global.anything=true", "windows.image.tag=x", "linux.metricsAddr=127.0.0.1:9000", "linux.additionalProvidersDirs=null", "linux.priorityClassName=",
	} {
		if _, problems, err := helm(t, "template", "strongroom", chartFolder, "--set", good); err != nil {
			t.Errorf("%s is refused: %s", good, problems)
		}
	}
}

// In another namespace, nothing points to kube-system but what is about kube-system.
func TestChartNamespace(t *testing.T) {
	flags := []string{"--namespace", "strongroom", "--values", filepath.Join(chartData, "everything.values.yaml")}
	about := 0
	for _, o := range installed(t, flags...) {
		for line := range strings.Lines(string(o.yaml)) {
			switch text := strings.TrimSpace(line); {
			case !strings.Contains(text, "kube-system"):
			case strings.Contains(text, "request.userInfo.username.split("), text == "kubernetes.io/metadata.name: kube-system":
				about++
			default:
				t.Errorf("in a %s: %s", o.kind, text)
			}
		}
	}
	if about != 3 {
		t.Errorf("%d lines are about kube-system, want 3: two policies keep Secrets out of it, DNS is in it", about)
	}
}

// No object of the chart waits for another: GitOps tools know nothing of Helm's hooks.
func TestChartHasNoHooks(t *testing.T) {
	all := installed(t, "--values", filepath.Join(chartData, "everything.values.yaml"))
	kept := 0
	for key, o := range named(t, all) {
		meta, _ := o["metadata"].(map[string]any)
		notes, _ := meta["annotations"].(map[string]any)
		for name := range notes {
			if strings.HasPrefix(name, "helm.sh/hook") {
				t.Errorf("%s has %s", key, name)
			}
		}
		if notes["helm.sh/resource-policy"] == "keep" && notes["argocd.argoproj.io/sync-options"] == "Prune=false" {
			kept++
		}
	}
	if kept != 3 {
		t.Errorf("%d objects stay when the release goes, want the 3 CRDs, also for Argo CD", kept)
	}
}

// Who makes rights and accounts otherwise gets none from the chart, but the policies.
func TestChartWithoutRights(t *testing.T) {
	found := 0
	for _, o := range installed(t, "--values", filepath.Join(chartData, "everything.values.yaml"), "--set", "rbac.install=false") {
		switch o.kind {
		case "ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding":
			t.Errorf("there is a %s", o.kind)
		case "ValidatingAdmissionPolicy":
			found++
		}
	}
	if found != 4 {
		t.Errorf("%d policies, want 4", found)
	}
}
