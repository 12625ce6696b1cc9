package render_test

import (
	"bytes"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/render"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // a flag of the test

func run(t *testing.T, stdin, args string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := &cli.Env{Program: "ctl", In: strings.NewReader(stdin), Out: &stdout, Err: &stderr, Terminal: true}
	code = cli.Main(t.Context(), env, []cli.Command{{Name: "render", Run: render.Run}}, append([]string{"render"}, strings.Fields(args)...))
	return code, stdout.String(), stderr.String()
}

func TestGolden(t *testing.T) {
	for name, args := range map[string]string{
		"vault": "testdata/vault.yaml --values testdata/vault.values.yaml --show", "vault-layout": "testdata/vault.yaml",
		"azure": "testdata/azure.yaml --values testdata/azure.values.yaml --show", "azure-layout": "testdata/azure.yaml",
		"json": "testdata/vault.yaml --values testdata/vault.values.yaml -o json",
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := run(t, "", args)
			if code != 0 {
				t.Fatalf("code %d: %s", code, errOut)
			}
			path := "testdata/" + name + ".golden"
			if *update {
				if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if shows := strings.Contains(out, "horse"); shows != strings.Contains(args, "--show") {
				t.Errorf("a value is shown: %t", shows)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	dir := t.TempDir()
	values := func(text string) string {
		if err := os.WriteFile(dir+"/values.yaml", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return " --values " + dir + "/values.yaml"
	}
	for _, tc := range []struct{ name, args, values, want string }{
		{name: "no file", want: "name files"},
		{name: "no values", args: "testdata/vault.yaml --values testdata/gone", want: "no such file"},
		{name: "faulty class", args: "../lint/testdata/faulty/vault-role-missing.yaml", want: "roleName is missing"},
		{name: "path missing", args: "testdata/vault.yaml", values: "a: 1", want: `the values have no "secret/data/shop/db"`},
		{name: "no mapping", args: "testdata/vault.yaml", values: "kv/shop/blob: s3cr3t", want: `"kv/shop/blob" must be a mapping`},
		{name: "key missing", args: "testdata/vault.yaml", values: "kv/shop/blob: {x: s3cr3t}", want: `has no key "b64"`},
		{name: "wrong encoding", args: "testdata/vault.yaml", values: "kv/shop/blob: {b64: s3cr3t}", want: "not in the encoding"},
		{name: "no text", args: "testdata/azure.yaml", values: "secret/db-password: 31337", want: "must be a text"},
		{name: "a list for a version", args: "testdata/azure.yaml", values: "{secret/rotated: [s3cr3t, s3cr3t], secret/rotated/1: [s3cr3t]}", want: "must be a text, and not a list"},
		{name: "not YAML", args: "testdata/azure.yaml", values: "- s3cr3t", want: "is not a YAML mapping"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			args := tc.args
			if tc.values != "" {
				args += values(tc.values)
			}
			code, out, errOut := run(t, "", args)
			if code != 2 || out != "" || !strings.Contains(errOut, tc.want) {
				t.Errorf("code %d, out %q, err %q, want %q", code, out, errOut, tc.want)
			}
			if strings.Contains(errOut, "s3cr3t") || strings.Contains(errOut, "31337") {
				t.Errorf("the error shows a value: %s", errOut)
			}
		})
	}
}
