package cli_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
)

func TestProgramName(t *testing.T) {
	for path, want := range map[string]string{
		"/usr/bin/strongroomctl":         "strongroomctl",
		"strongroomctl.exe":              "strongroomctl",
		"/home/me/kubectl-strongroom":    "kubectl strongroom",
		"kubectl-strong_room":            "kubectl strong-room",
		"/home/me/kubectl-strongroomctl": "kubectl strongroomctl",
	} {
		if got := cli.ProgramName(path); got != want {
			t.Errorf("ProgramName(%q) = %q, want %q", path, got, want)
		}
	}
}

// echo prints its arguments, and fails as it is told.
func echo(result error) func(context.Context, *cli.Env, []string) error {
	return func(_ context.Context, env *cli.Env, args []string) error {
		fs := env.Flags("echo")
		loud := fs.Bool("loud", false, "print in upper case")
		rest, err := env.Parse(fs, args, -1)
		if err != nil {
			return err
		}
		if *loud {
			rest = append(rest, "LOUD")
		}
		err = env.Print(rest, func(w io.Writer) error {
			return cli.Table(w, []string{"args"}, [][]string{{strings.Join(rest, " ")}})
		})
		return errors.Join(err, result)
	}
}

func TestRun(t *testing.T) {
	commands := []cli.Command{
		{Name: "echo", Args: "ARG...", Short: "print", Run: echo(nil)},
		{Name: "echo twice", Short: "find", Run: echo(cli.ErrFindings)},
		{Name: "fail", Short: "fail", Run: echo(errors.New("no route to host"))},
	}
	for _, tc := range []struct {
		name, args, out, err string
		terminal             bool
		code                 int
	}{
		{name: "nothing", err: "looks after", code: 2},
		{name: "help", args: "help", out: "kubectl strongroom echo ARG..."},
		{name: "unknown", args: "ecoh x", err: `kubectl strongroom: there is no command "ecoh x"; see kubectl strongroom help`, code: 2},
		{name: "terminal", args: "echo a b", terminal: true, out: "ARGS\na b\n"},
		{name: "pipe", args: "echo a", out: "[\n  \"a\"\n]\n"},
		{name: "flags stand anywhere", args: "echo a -o yaml b --loud", out: "- a\n- b\n- LOUD\n"},
		{name: "after two dashes there are none", args: "echo -o yaml a -- --loud", out: "- a\n- --loud\n"},
		{name: "standard input is no flag", args: "echo - -o yaml", out: "- '-'\n"},
		{name: "output is checked", args: "echo --output=xml", err: "table, json, yaml", code: 2},
		{name: "wrong flag", args: "echo --quiet", err: "see kubectl strongroom echo -h", code: 2},
		{name: "help of one", args: "echo --help", out: "print in upper case"},
		{name: "two words", args: "echo twice a -o yaml", out: "- a\n", code: 1},
		{name: "trouble", args: "fail -o yaml", err: "kubectl strongroom fail: no route to host\n", code: 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			env := &cli.Env{Program: "kubectl strongroom", Out: &out, Err: &errOut, Terminal: tc.terminal}
			code := cli.Main(t.Context(), env, slices.Clone(commands), strings.Fields(tc.args))
			if code != tc.code || !strings.Contains(out.String(), tc.out) || !strings.Contains(errOut.String(), tc.err) {
				t.Errorf("code %d, want %d\nout: %s\nwant: %s\nerr: %s\nwant: %s", code, tc.code, &out, tc.out, &errOut, tc.err)
			}
			if tc.err == "" && errOut.Len() > 0 {
				t.Errorf("unexpected on stderr: %s", &errOut)
			}
		})
	}
}
