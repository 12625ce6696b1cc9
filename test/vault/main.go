package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/strongroom/strongroom/test/internal/ground/folder"
	"github.com/strongroom/strongroom/test/internal/ground/step"
)

const usage = `usage: vault COMMAND [flags]

  build     make Vault and its plugins, if they are not cached; install PostgreSQL
  up        bring Vault and a PostgreSQL up, initialised, unsealed and configured
              --listen HOST[:PORT]  an address of this machine that pods reach
                                    (default $VAULT_LISTEN, or the test cluster's)
  restart   stop, start and unseal Vault
  seal      seal
  unseal    unseal
  status    print the address and the state; exit code 1 unless it is unsealed
  down      stop and remove every trace

Both live in the folder vault of $STRONGROOM_RUN (default ` + folder.Default + `).
It accepts the service accounts of $KUBECONFIG, or else of the test cluster.
`

var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	switch {
	case errors.Is(err, errUsage), errors.Is(err, flag.ErrHelp):
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "vault:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errUsage
	}
	t := &tool{log: step.New(os.Stderr), cluster: folder.Cluster()}
	t.run = folder.Folder(t.cluster.Path("vault"))
	commands := map[string]func(context.Context, []string) error{
		"build": t.build, "up": t.up, "restart": t.restart, "seal": t.seal,
		"unseal": t.unseal, "status": t.status, "down": t.down,
	}
	command, ok := commands[args[0]]
	if !ok {
		return errUsage
	}
	if args[0] == "up" {
		return command(ctx, args[1:])
	}
	if len(args) > 1 {
		return errUsage
	}
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return command(ctx, nil)
}
