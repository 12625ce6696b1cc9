package metrics

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/yaml"
)

const (
	page       = "../../../../docs/metrics.md"
	monitoring = "../../../../manifests/monitoring/"
)

// recorder is a registry that keeps what is registered.
type recorder struct {
	prometheus.Registerer

	all []prometheus.Collector
}

func (r *recorder) Register(c prometheus.Collector) error {
	r.all = append(r.all, c)
	return r.Registerer.Register(c)
}

// metric is one that the driver has.
type metric struct{ Type, Labels string }

var description = regexp.MustCompile(`^Desc\{fqName: "([^"]+)".* variableLabels: \{([^}]*)\}\}$`)

// registered lists the driver's own metrics, and those of its process, by name.
func registered(t *testing.T) (own, process map[string]metric) {
	t.Helper()
	r := &recorder{Registerer: prometheus.NewRegistry()}
	v, err := New(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Report(Sources{}); err != nil {
		t.Fatal(err)
	}
	own, process = map[string]metric{}, map[string]metric{}
	for _, c := range r.all {
		descs := make(chan *prometheus.Desc, 1000)
		c.Describe(descs)
		close(descs)
		for d := range descs {
			parts := description.FindStringSubmatch(d.String())
			if parts == nil {
				t.Fatalf("%s is not understood", d)
			}
			m := metric{typeOf(c), strings.ReplaceAll(parts[2], ",", ", ")}
			if strings.HasPrefix(parts[1], "go_") || strings.HasPrefix(parts[1], "process_") {
				process[parts[1]] = m
				continue
			}
			own[parts[1]] = m
		}
	}
	return own, process
}

func typeOf(c prometheus.Collector) string {
	switch c.(type) {
	case *prometheus.CounterVec, prometheus.Counter:
		return "counter"
	case *prometheus.HistogramVec, prometheus.Histogram:
		return "histogram"
	}
	return "gauge"
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The tables of the page list every metric, with its type and labels, and no other.
func TestPageListsTheMetrics(t *testing.T) {
	t.Parallel()
	own, _ := registered(t)
	listed := map[string]metric{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| (counter|gauge|histogram) \\| ([a-z_, ]*) ?\\|").FindAllStringSubmatch(read(t, page), -1) {
		listed[row[1]] = metric{row[2], strings.TrimSpace(row[3])}
	}
	if diff := cmp.Diff(own, listed); diff != "" {
		t.Errorf("docs/metrics.md (-registered +listed):\n%s", diff)
	}
}

// rules are the groups of a rules file.
type rules struct {
	Groups []struct {
		Name, Interval string
		Rules          []struct {
			Alert, Expr         string
			For                 string
			Labels, Annotations map[string]string
		}
	}
}

func shipped(t *testing.T) rules {
	t.Helper()
	var r rules
	if err := yaml.UnmarshalStrict([]byte(read(t, monitoring+"rules.yaml")), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// The Prometheus Operator gets the same rules as Prometheus.
func TestPrometheusRule(t *testing.T) {
	t.Parallel()
	var want any
	var object struct{ Spec any }
	if err := yaml.Unmarshal([]byte(read(t, monitoring+"rules.yaml")), &want); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(read(t, monitoring+"prometheusrule.yaml")), &object); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, object.Spec); diff != "" {
		t.Errorf("copy the groups of rules.yaml into prometheusrule.yaml (-rules +prometheusrule):\n%s", diff)
	}
}

// Every alert says what is wrong, how bad it is and what to do next; it is listed on
// the page, with its severity, and a test shows when it fires.
func TestAlerts(t *testing.T) {
	t.Parallel()
	tests, doc := read(t, monitoring+"rules.test.yaml"), read(t, page)
	var shippedAlerts []string
	for _, group := range shipped(t).Groups {
		for _, rule := range group.Rules {
			shippedAlerts = append(shippedAlerts, rule.Alert)
			for _, key := range []string{"summary", "description"} {
				if rule.Annotations[key] == "" {
					t.Errorf("%s has no %s", rule.Alert, key)
				}
			}
			severity := rule.Labels["severity"]
			if !slices.Contains([]string{"warning", "critical"}, severity) {
				t.Errorf("%s has severity %q", rule.Alert, severity)
			}
			if !strings.Contains(doc, "| `"+rule.Alert+"` | "+severity+" |") {
				t.Errorf("%s is not on the page, or has another severity there", rule.Alert)
			}
			if !strings.Contains(tests, `"`+rule.Alert+`"`) {
				t.Errorf("rules.test.yaml does not show when %s fires", rule.Alert)
			}
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `(Strongroom[A-Za-z]+)`").FindAllStringSubmatch(doc, -1) {
		if !slices.Contains(shippedAlerts, row[1]) {
			t.Errorf("the page lists %s, which does not exist", row[1])
		}
	}
}

// panel is one of the dashboard.
type panel struct {
	Type, Title, Description string
	Datasource               struct{ UID string }
	GridPos                  struct{ X, Y, W, H int }
	FieldConfig              struct{ Defaults struct{ Unit string } }
	Targets                  []struct {
		Expr       string
		Datasource struct{ UID string }
	}
}

func panels(t *testing.T) []panel {
	t.Helper()
	var dashboard struct{ Panels []panel }
	if err := json.Unmarshal([]byte(read(t, monitoring+"dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(dashboard.Panels, func(p panel) bool { return p.Type == "row" })
}

func TestDashboard(t *testing.T) {
	t.Parallel()
	all := panels(t)
	if len(all) < 20 {
		t.Fatalf("%d panels", len(all))
	}
	for i, p := range all {
		if p.Title == "" || p.Description == "" || p.FieldConfig.Defaults.Unit == "" || len(p.Targets) == 0 {
			t.Errorf("panel %q lacks a title, a description, a unit or an expression", p.Title)
		}
		uids := []string{p.Datasource.UID}
		for _, target := range p.Targets {
			uids = append(uids, target.Datasource.UID)
		}
		if slices.ContainsFunc(uids, func(uid string) bool { return uid != "${datasource}" }) {
			t.Errorf("panel %q reads from %q, not from what the user chose", p.Title, uids)
		}
		if j := slices.IndexFunc(all[:i], p.overlaps); j >= 0 {
			t.Errorf("panels %q and %q overlap", p.Title, all[j].Title)
		}
	}
}

func (p panel) overlaps(q panel) bool {
	a, b := p.GridPos, q.GridPos
	return a.X < b.X+b.W && b.X < a.X+a.W && a.Y < b.Y+b.H && b.Y < a.Y+a.H
}

var (
	quoted = regexp.MustCompile(`"[^"]*"`)
	names  = regexp.MustCompile(`\b(?:strongroom|node|rotation|sync|k8s|process|go)_[a-z0-9_]+`)
	series = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// Rules and dashboard know no metric that the driver does not have, and leave out none
// that is new.
func TestExpressionsNameMetrics(t *testing.T) {
	t.Parallel()
	own, process := registered(t)
	used := map[string]bool{}
	check := func(where, expr string) {
		for _, name := range names.FindAllString(quoted.ReplaceAllString(expr, ""), -1) {
			_, isOwn := own[name]
			_, isProcess := process[name]
			if base := series.ReplaceAllString(name, ""); own[base].Type == "histogram" {
				isOwn, name = true, base
			}
			used[name] = true
			if !isOwn && !isProcess {
				t.Errorf("%s: there is no metric %s", where, name)
			}
		}
	}
	for _, group := range shipped(t).Groups {
		for _, rule := range group.Rules {
			check(rule.Alert, rule.Expr)
		}
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			check(p.Title, target.Expr)
		}
	}
	for name := range own {
		if strings.HasPrefix(name, "strongroom_") && !used[name] {
			t.Errorf("neither rules nor dashboard use %s", name)
		}
	}
}
