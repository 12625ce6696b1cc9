package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
	"github.com/strongroom/strongroom/internal/reference"
)

// update says that the page is to be written: go test ./cmd/strongroomctl -run TestFlagsPage -update.
const update = "update"

// asProgram in the environment makes the test's binary the program, which checks its input.
const asProgram = "STRONGROOM_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		os.Args = []string{"strongroomctl", "lint", "-"}
		main()
	}
	flag.Bool(update, false, "write the flags into the documentation")
	flag.Parse()
	os.Exit(m.Run())
}

// The page has what each command says when it is asked for help.
func TestFlagsPage(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for _, c := range commands() {
		fmt.Fprintf(&b, "```text\n%s\n```\n\n", strings.TrimRight(helpOf(t, c.Name), "\n"))
	}
	err := reference.Check("../../docs/reference/flags.md", map[string]string{"strongroomctl": strings.TrimRight(b.String(), "\n")},
		flag.Lookup(update).Value.String() == "true")
	if err != nil {
		t.Error(err)
	}
}

func helpOf(t *testing.T, command string) string {
	t.Helper()
	var out, errs bytes.Buffer
	env := &cli.Env{Program: "strongroomctl", In: strings.NewReader(""), Out: &out, Err: &errs}
	code := cli.Main(context.Background(), env, commands(), append(strings.Fields(command), "-h"))
	if code != 0 || out.Len() == 0 {
		t.Fatalf("%s -h: exit code %d, %q, %q", command, code, out.String(), errs.String())
	}
	return strings.ReplaceAll(out.String(), "\t", "    ")
}
