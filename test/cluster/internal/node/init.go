package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"github.com/strongroom/strongroom/test/internal/plan"
)

// Init is the node's first process. It furnishes the namespaces, starts the
// services and buries the dead. It returns when it is asked to stop or when
// the services have stopped, and whatever still runs then dies with it.
func Init(ctx context.Context, n plan.Node) error {
	if os.Getpid() != 1 {
		return errors.New("this command is for the tool's own use")
	}
	if err := furnish(ctx, n); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{ServicesCommand}, arguments(n)...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the services: %w", err)
	}
	done := make(chan error, 1)
	go func() { done <- reap(cmd.Process.Pid) }()
	select {
	case <-ctx.Done():
		return nil
	case err := <-done:
		return err
	}
}

func furnish(ctx context.Context, n plan.Node) error {
	if err := syscall.Sethostname([]byte(n.Name())); err != nil {
		return fmt.Errorf("set host name: %w", err)
	}
	if err := mounts(n); err != nil {
		return err
	}
	ready := os.NewFile(3, "ready") // the tool's pipe
	if b, err := io.ReadAll(io.LimitReader(ready, 2)); err != nil || len(b) < 2 {
		return errors.New("the tool stopped before the network was there")
	}
	return network(ctx, n)
}

// reap waits for every process that has lost its parent, until the given child
// ends.
func reap(child int) error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("wait for processes: %w", err)
		case pid == child:
			return fmt.Errorf("the services stopped with status %#x", int(status))
		}
	}
}
