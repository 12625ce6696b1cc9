package grants_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/grants"
)

var update = flag.Bool("update", false, "write the golden files anew") //nolint:gochecknoglobals // a flag of the test

func run(t *testing.T, stdin, args string) (code int, out, errOut string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	env := &cli.Env{Program: "ctl", In: strings.NewReader(stdin), Out: &stdout, Err: &stderr}
	code = cli.Main(t.Context(), env, []cli.Command{{Name: "grants", Run: grants.Run}}, append([]string{"grants"}, strings.Fields(args)...))
	return code, stdout.String(), stderr.String()
}

// TestGolden also has a shell read what is printed.
func TestGolden(t *testing.T) {
	for name, args := range map[string]string{
		"vault": "testdata/vault.yaml", "methods": "testdata/methods.yaml", "azure": "testdata/azure.yaml",
		"azure-per-vault": "testdata/azure.yaml --per-vault",
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := run(t, "", args+" --service-account shop/web")
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
			sh := exec.CommandContext(t.Context(), "sh", "-n")
			sh.Stdin = strings.NewReader(out)
			if said, err := sh.CombinedOutput(); err != nil {
				t.Errorf("sh: %v: %s", err, said)
			}
		})
	}
}

// TestQuoting: a class cannot put a command into the script.
func TestQuoting(t *testing.T) {
	class := func(role, path string) string {
		return "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {name: a}\nspec:\n  provider: vault\n  parameters:\n" +
			"    roleName: " + role + "\n    objects: |\n      - {objectName: a, secretPath: " + path + "}\n"
	}
	dir := t.TempDir()
	for _, text := range []string{
		class(`"x; touch bad"`, "kv/a"), class(`"x' $(touch bad)"`, "kv/a"), class("x", `"kv/a\nEND\ntouch bad\n"`),
		class("x", `"kv/+/\ntouch bad"`), class("x", `"kv/%0AEND%0Atouch bad"`),
		strings.Replace(class("x", "kv/a"), "{name: a}", `{name: "a\ntouch bad"}`, 1),
		strings.Replace(class("x", "kv/a"), "{name: a}", `{name: "a\r\ntouch bad", namespace: shop}`, 1),
		"# \n" + class("x\n    vaultAddress: \"https://a/\\ntouch bad\"", "kv/a"),
	} {
		code, out, errOut := run(t, text, "- --service-account shop/web")
		if code != 0 {
			continue // the class is refused
		}
		sh := exec.CommandContext(t.Context(), "sh")
		sh.Dir, sh.Stdin = dir, strings.NewReader("vault() { cat >/dev/null 2>&1 </dev/null; }\n"+out)
		_ = sh.Run()
		if _, err := os.Stat(dir + "/bad"); err == nil {
			t.Errorf("the script ran a command of the class (%s):\n%s", errOut, out)
			_ = os.Remove(dir + "/bad")
		}
	}
}

func classWith(name, parameters string) string {
	return "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {name: " + name + "}\nspec:\n  provider: vault\n" +
		"  parameters: {roleName: app, " + parameters + ", objects: '[{objectName: a, secretPath: kv/" + name + "}]'}\n---\n"
}

// TestPolicies: no policy is written over another one, and no role.
func TestPolicies(t *testing.T) {
	text := classWith("a", "vaultAuthMountPath: k1") + classWith("b", "vaultAuthMountPath: k2") +
		classWith("c", "authMethod: jwt, vaultAuthMountPath: k2") + classWith("d", "authMethod: jwt, vaultAuthMountPath: k1")
	code, out, errOut := run(t, text, "- --service-account shop/web")
	if code != 0 {
		t.Fatalf("code %d: %s", code, errOut)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		if name, ok := strings.CutPrefix(line, "vault policy write "); ok && seen[name] {
			t.Errorf("a policy is written twice: %s", name)
		} else if ok {
			seen[name] = true
		}
	}
	if len(seen) != 4 {
		t.Errorf("%d policies for 4 identities:\n%s", len(seen), out)
	}
	text = classWith("a", "audience: one") + classWith("b", "audience: two")
	if code, out, errOut = run(t, text, "- --service-account shop/web"); code != 2 || out != "" || !strings.Contains(errOut, `audiences "one" (by a) and "two" (by b)`) {
		t.Errorf("code %d, out %q, err %q", code, out, errOut)
	}
}

// TestLiteral: the vault program takes the value for a text, and not for the name of a file.
func TestLiteral(t *testing.T) {
	const class = "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {name: a}\nspec:\n  provider: vault\n" +
		"  parameters: {roleName: r, audience: '@/etc/passwd', objects: '[{objectName: a, secretPath: kv/a}]'}\n"
	code, out, errOut := run(t, class, "- --service-account shop/web")
	if code != 0 || !strings.Contains(out, `audience='\@/etc/passwd'`) {
		t.Errorf("code %d: %s%s", code, out, errOut)
	}
}

func TestRefused(t *testing.T) {
	for _, tc := range []struct{ name, stdin, args, want string }{
		{name: "no account", args: "testdata/vault.yaml", want: "NAMESPACE/NAME"},
		{name: "bad account", args: "testdata/vault.yaml --service-account web", want: "NAMESPACE/NAME"},
		{name: "other namespace", args: "testdata/vault.yaml --service-account other/web", want: "classes of their own namespace only"},
		{name: "no class", stdin: "a: 1\n", args: "- --service-account shop/web", want: "there is no SecretProviderClass"},
		{name: "no file", args: "--service-account shop/web", want: "name files"},
		{name: "faulty class", args: "../lint/testdata/faulty/vault-role-missing.yaml --service-account shop/web", want: "roleName is missing"},
		{name: "other provider", args: "../lint/testdata/valid/provider-of-others.yaml --service-account shop/web", want: `provider "aws"`},
		{name: "not YAML", stdin: "kind: [\n", args: "- --service-account shop/web", want: "stdin:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out, errOut := run(t, tc.stdin, tc.args)
			if code != 2 || out != "" || !strings.Contains(errOut, tc.want) {
				t.Errorf("code %d, out %q, err %q, want %q", code, out, errOut, tc.want)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	code, out, _ := run(t, "", "testdata/vault.yaml --service-account shop/web -o json")
	if code != 0 || !strings.Contains(out, `"policy": "path`) {
		t.Errorf("code %d: %s", code, out)
	}
}
