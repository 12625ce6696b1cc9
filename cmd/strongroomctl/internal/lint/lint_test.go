package lint_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/lint"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/manifest"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // a flag of the test

func check(t *testing.T, name string) *lint.Result {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	classes, troubles := manifest.Read(filepath.Base(name), text)
	return lint.Check(classes, troubles)
}

// golden compares what is said of a file with the file beside it; nothing is said of most.
func golden(t *testing.T, name string, r *lint.Result) {
	t.Helper()
	var got bytes.Buffer
	if err := r.Text(&got); err != nil {
		t.Fatal(err)
	}
	path := strings.TrimSuffix(name, ".yaml") + ".golden"
	if *update {
		_ = os.Remove(path)
		if len(r.Findings) > 0 {
			if err := os.WriteFile(path, got.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	want, err := os.ReadFile(path)
	if os.IsNotExist(err) && len(r.Findings) == 0 {
		return
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func files(t *testing.T, pattern string) []string {
	t.Helper()
	const least = 30
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) < least {
		t.Fatalf("%d files match %s (%v), want at least %d", len(names), pattern, err, least)
	}
	return names
}

func TestFaulty(t *testing.T) {
	for _, name := range files(t, "testdata/faulty/*.yaml") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			r := check(t, name)
			if r.Errors == 0 {
				t.Error("no error was found")
			}
			golden(t, name, r)
		})
	}
}

// TestValid: what works today is never an error; what is hardly meant is a warning.
func TestValid(t *testing.T) {
	for _, name := range files(t, "testdata/valid/*.yaml") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			r := check(t, name)
			if r.Errors > 0 {
				t.Error("an error was found")
			}
			golden(t, name, r)
		})
	}
}

// TestFast: all of them take less than a second, which is most of what a user waits.
func TestFast(t *testing.T) {
	began := time.Now()
	n := 0
	for _, pattern := range []string{"testdata/faulty/*.yaml", "testdata/valid/*.yaml"} {
		for _, name := range files(t, pattern) {
			n += check(t, name).Classes
		}
	}
	const limit = time.Second
	took := time.Since(began)
	t.Logf("%d classes in %s", n, took)
	if took > 10*limit { // the machine may have more to do
		t.Errorf("%d classes took %s, want less than %s", n, took, limit)
	}
}

// TestDocs: every class that the documentation shows passes.
func TestDocs(t *testing.T) {
	const root = "../../../../"
	var pages []string
	for _, pattern := range []string{"README.md", "docs/*.md", "docs/*/*.md", "examples/*/*.md", "test/demo.yaml"} {
		names, err := filepath.Glob(root + pattern)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, names...)
	}
	n := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range shown(page, string(text)) {
			classes, troubles := manifest.Read(filepath.Base(page), []byte(part))
			r := lint.Check(classes, troubles)
			n += len(classes)
			for _, f := range r.Findings {
				if f.Severity == lint.Error {
					t.Errorf("%s: %s\n%s", page, f.String(), part)
				}
			}
		}
	}
	const least = 8
	if n < least {
		t.Errorf("the documentation has %d classes, want at least %d", n, least)
	}
}

// shown are the parts of a page that can be a class: here-documents and blocks of YAML.
func shown(page, text string) (parts []string) {
	if strings.HasSuffix(page, ".yaml") {
		return []string{text}
	}
	variables := regexp.MustCompile(`\$\{?\w+\}?|\b[A-Z_]{6,}\b`)
	for _, re := range []string{"(?s)<<'?(?:END|EOF)'?\n(.*?)\n(?:END|EOF)\n", "(?s)```yaml[^\n]*\n(.*?)```"} {
		for _, m := range regexp.MustCompile(re).FindAllStringSubmatch(text, -1) {
			part := m[1]
			if strings.Contains(part, "kind: "+manifest.Kind+"\n") && !strings.Contains(part, "...") {
				part = strings.ReplaceAll(part, "$method", "jwt")
				parts = append(parts, variables.ReplaceAllString(part, "example"))
			}
		}
	}
	return parts
}

// run calls the command as main does.
func run(t *testing.T, stdin string, args ...string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := &cli.Env{Program: "ctl", In: strings.NewReader(stdin), Out: &stdout, Err: &stderr}
	code = cli.Main(t.Context(), env, []cli.Command{{Name: "lint", Run: lint.Run}}, append([]string{"lint"}, args...))
	return code, stdout.String(), stderr.String()
}

func TestCommand(t *testing.T) {
	warned, err := os.ReadFile("testdata/valid/provider-typo.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, stdin, args, out, err string
		code                        int
	}{
		{name: "no file", err: "name files", code: 2},
		{name: "missing file", args: "testdata/gone.yaml", err: "no such file", code: 2},
		{name: "folder", args: "testdata/faulty -o table", out: "testdata/faulty/azure-type-missing.yaml:15:11: error: ", code: 1},
		{name: "several", args: "testdata/valid/vault.yaml testdata/valid/azure.yaml", out: `"classes": 2`},
		{name: "warning", stdin: string(warned), args: "-", out: `"warnings": 1`},
		{name: "strict", stdin: string(warned), args: "- --strict -o table", out: "stdin:7:3: warning: spec.provider: ", code: 1},
		{name: "nothing", stdin: "a: 1\n", args: "-", out: `"findings": []`, err: "there is no SecretProviderClass"},
		{name: "yaml", args: "testdata/faulty/azure-type-missing.yaml -o yaml", out: "line: 15\n", code: 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out, errOut := run(t, tc.stdin, strings.Fields(tc.args)...)
			if code != tc.code || !strings.Contains(out, tc.out) || !strings.Contains(errOut, tc.err) {
				t.Errorf("code %d, want %d\nout: %s\nwant: %s\nerr: %s\nwant: %s", code, tc.code, out, tc.out, errOut, tc.err)
			}
		})
	}
}
