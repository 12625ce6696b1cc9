package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/strongroom/strongroom/test/cluster/internal/node"
	"github.com/strongroom/strongroom/test/internal/ground/folder"
	"github.com/strongroom/strongroom/test/internal/ground/step"
	"github.com/strongroom/strongroom/test/internal/plan"
)

const usage = `usage: cluster COMMAND [flags]

  build             make the Kubernetes binaries, if they are not cached
  up                bring the cluster up; does nothing if it is up
  load IMAGE.tar... import docker archives into every node
  status            print the nodes and the addresses; exit code 1 if not up
  down              stop everything and remove every trace

The cluster lives in $STRONGROOM_RUN (default ` + folder.Default + `),
the binaries in $STRONGROOM_CACHE (default ~/.cache/strongroom).
`

var errUsage = errors.New("usage")

func main() {
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, errUsage), errors.Is(err, flag.ErrHelp):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	t := &tool{log: step.New(os.Stderr), run: folder.Cluster()}
	command, rest := args[0], args[1:]
	switch command {
	case "build":
		return t.build(ctx)
	case "up":
		return t.up(ctx, rest)
	case "load":
		return t.load(ctx, rest)
	case "status":
		return t.status(ctx)
	case "down":
		return t.down(ctx)
	case node.InitCommand, node.ServicesCommand:
		return inside(ctx, command, rest)
	default:
		return errUsage
	}
}

// inside is what the tool does when it runs as a part of a node.
func inside(ctx context.Context, command string, args []string) error {
	if len(args) != 2 {
		return errUsage
	}
	c, err := plan.Load(folder.Folder(args[0]))
	if err != nil {
		return err
	}
	number, err := strconv.ParseUint(args[1], 10, 8)
	if err != nil {
		return errUsage
	}
	n := c.Node(byte(number))
	if command == node.InitCommand {
		return node.Init(ctx, n)
	}
	return node.Services(ctx, n)
}
