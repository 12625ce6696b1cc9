package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/cmd/provider-vault/internal/vault"
	"github.com/strongroom/strongroom/internal/reference"
	"github.com/strongroom/strongroom/internal/vaultclass"
)

const (
	page    = "../../docs/providers/vault.md"
	metrics = "../../docs/metrics.md"
	flagsOf = "../../docs/reference/flags.md"
)

// update says that the page is to be written: go test ./cmd/provider-vault -run TestPage -update.
const update = "update"

// asFlags in the environment makes the test's binary print the program's flags.
const asFlags = "STRONGROOM_PRINT_FLAGS"

func TestMain(m *testing.M) {
	if os.Getenv(asFlags) != "" {
		flag.Usage = printFlags
		main() // ends with the usage
	}
	flag.Bool(update, false, "write the tables of the documentation")
	flag.Parse()
	os.Exit(m.Run())
}

type flagLine struct{ Name, Default, Usage string }

func printFlags() {
	var lines []flagLine
	flag.VisitAll(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, "test.") {
			lines = append(lines, flagLine{f.Name, f.DefValue, f.Usage})
		}
	})
	_ = json.NewEncoder(os.Stdout).Encode(lines) // who reads it notices
}

// The tables of the page are what the program says of itself.
func TestPage(t *testing.T) {
	t.Parallel()
	write, table := flag.Lookup(update).Value.String() == "true", flags(t)
	err := reference.Check(page, map[string]string{
		"parameters":    reference.Table("parameter", vaultclass.Parameters()),
		"object fields": reference.Table("field", vaultclass.ObjectFields()),
		"flags":         table,
	}, write)
	if err != nil {
		t.Error(err)
	}
	if err := reference.Check(flagsOf, map[string]string{"provider-vault": table}, write); err != nil {
		t.Error(err)
	}
}

// flags asks the program itself, in a process of its own.
func flags(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-help")
	cmd.Env = append(os.Environ(), asFlags+"=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ask for the flags: %v", err)
	}
	var lines []flagLine
	if err := json.Unmarshal(out, &lines); err != nil || len(lines) < 20 {
		t.Fatalf("the program said nothing of use about its flags: %v: %s", err, out)
	}
	var b strings.Builder
	b.WriteString("| flag | default | meaning |\n| --- | --- | --- |\n")
	for _, l := range lines {
		shown := ""
		if l.Default != "" {
			shown = "`" + l.Default + "`"
		}
		fmt.Fprintf(&b, "| `--%s` | %s | %s |\n", l.Name, shown, strings.ReplaceAll(l.Usage, "|", `\|`))
	}
	return b.String()
}

// Every variable that the client library knows is on the page.
func TestPageNamesEveryVariable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "github.com/hashicorp/vault/api").Output()
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "client.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`(?m)^\tEnv\w+ += "(VAULT_\w+)"`).FindAllSubmatch(source, -1)
	if len(names) < 20 {
		t.Fatalf("only %d variables found in the library", len(names))
	}
	for _, name := range names {
		if !bytes.Contains(text, append([]byte("`"), append(name[1], '`')...)) {
			t.Errorf("the page does not say what %s does", name[1])
		}
	}
}

// The page of metrics lists those of the provider with their labels, and no other.
func TestMetricsPage(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(metrics)
	if err != nil {
		t.Fatal(err)
	}
	listed, err := reference.Listed(string(text), "The provider for Vault", "strongroom_vault_[a-z_]+")
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
	p, err := vault.New(t.Context(), vault.Config{
		Getenv: func(string) string { return "" }, Log: slog.New(slog.DiscardHandler),
		VersionKey: func(context.Context) []byte { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	labels, err := reference.Labels(p)
	if err != nil {
		t.Fatal(err)
	}
	return labels
}
