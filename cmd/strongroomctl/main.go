package main

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/strongroom/strongroom/cmd/strongroomctl/internal/cli"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	env := &cli.Env{
		Program: cli.ProgramName(os.Args[0]), In: os.Stdin, Out: os.Stdout, Err: os.Stderr,
		Terminal: cli.IsTerminal(os.Stdout),
	}
	code := cli.Main(ctx, env, commands(), os.Args[1:])
	stop()
	os.Exit(code)
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
