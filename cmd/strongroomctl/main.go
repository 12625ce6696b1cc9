package main

import (
	"context"
	"os"
	"slices"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
)

func main() {
	// A signal ends the program at once: there is nothing to tidy up, and what reads the
	// standard input would not notice that a context is done.
	env := &cli.Env{
		Program: cli.ProgramName(os.Args[0]), In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Terminal: cli.IsTerminal(os.Stdout),
	}
	os.Exit(cli.Main(context.Background(), env, commands(), os.Args[1:]))
}

// commands are all there are, in the order of the usage text.
func commands() []cli.Command {
	last := cli.Command{Name: "version", Short: "print the version of this program", Run: version}
	return slices.Concat(clusterCommands(), fileCommands(), []cli.Command{last})
}

func version(_ context.Context, env *cli.Env, args []string) error {
	fs := env.Flags("version")
	if _, err := env.Parse(fs, args, 0); err != nil {
		return err
	}
	build := cli.ReadBuild()
	return env.Print(build, build.Text)
}
