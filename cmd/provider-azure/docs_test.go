package main

import (
	"flag"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/cmd/provider-azure/internal/azure"
	"github.com/strongroom/strongroom/cmd/provider-azure/internal/operate"
	"github.com/strongroom/strongroom/internal/azureclass"
	"github.com/strongroom/strongroom/internal/reference"
)

const (
	page    = "../../docs/providers/azure.md"
	metrics = "../../docs/metrics.md"
	flagsOf = "../../docs/reference/flags.md"
)

// update says that the page is to be written: go test ./cmd/provider-azure -run TestPage -update.
const update = "update"

// The tables of the page are what the program says of itself.
func TestPage(t *testing.T) {
	t.Parallel()
	write, table := flag.Lookup(update).Value.String() == "true", flagTable(programFlags())
	err := reference.Check(page, map[string]string{
		"parameters":    reference.Table("parameter", azureclass.Parameters()),
		"object fields": reference.Table("field", azureclass.ObjectFields()),
		"flags":         table,
	}, write)
	if err != nil {
		t.Error(err)
	}
	if err := reference.Check(flagsOf, map[string]string{"provider-azure": table}, write); err != nil {
		t.Error(err)
	}
}

// programFlags are what main registers.
func programFlags() *flag.FlagSet {
	set := flag.NewFlagSet("provider-azure", flag.ContinueOnError)
	var f azure.Flags
	f.Register(set)
	var o operate.Options
	o.Register(set)
	return set
}

// flagTable has one row for all the flags that do nothing.
func flagTable(set *flag.FlagSet) string {
	const idle = "without effect"
	var rows, without []string
	why := ""
	set.VisitAll(func(f *flag.Flag) {
		usage := strings.ReplaceAll(f.Usage, "|", `\|`)
		if strings.HasPrefix(usage, idle) {
			without, why = append(without, "`--"+f.Name+"`"), usage
			return
		}
		shown := ""
		if f.DefValue != "" {
			shown = "`" + f.DefValue + "`"
		}
		rows = append(rows, fmt.Sprintf("| `--%s` | %s | %s |\n", f.Name, shown, usage))
	})
	rows = append(rows, fmt.Sprintf("| %s |  | %s |\n", strings.Join(without, ", "), why))
	return "| flag | default | meaning |\n| --- | --- | --- |\n" + strings.Join(rows, "")
}

// The flags of the page are those that the program itself lists, but for those of testing.
func TestFlagsOfPage(t *testing.T) {
	t.Parallel()
	p := start(t, "-help")
	p.code(t)
	asked := regexp.MustCompile(`(?m)^  -([\w-]+)(?: |$)`).FindAllStringSubmatch(p.log.String(), -1)
	listed := flagTable(programFlags())
	for _, name := range asked {
		if !strings.Contains(listed, "`--"+name[1]+"`") {
			t.Errorf("the page does not say what -%s does", name[1])
		}
	}
	if n := strings.Count(listed, "`--"); len(asked) < 20 || n != len(asked) {
		t.Errorf("the program has %d flags, the page %d", len(asked), n)
	}
}

// The page of metrics lists those of the provider with their labels, and no other.
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(metrics)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := reference.Listed(string(text), "The provider for Azure", "strongroom_azure_[a-z_]+|[a-z]+_request")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(described(t), listed); diff != "" {
		t.Errorf("docs/metrics.md (-described +listed):\n%s", diff)
	}
}

// described are the labels of the provider's own metrics, by name.
func described(t *testing.T) map[string]string {
	t.Helper()
	cfg := azure.Config{Getenv: func(string) string { return "" }, Log: slog.New(slog.DiscardHandler)}
	cfg.Flags.Register(flag.NewFlagSet("", flag.ContinueOnError)) // sets the defaults
	p, err := azure.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	labels, err := reference.Labels(p)
	if err != nil {
		t.Fatal(err)
	}
	return labels
}
