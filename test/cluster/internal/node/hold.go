package node

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/test/internal/ground/process"
)

// Hold keeps the mounts and networks of the nodes of a run folder while do ends
// their processes, until the last of them is gone. So the programs of one node, and
// of its pods, can still take leave of those of another: a connection that cannot
// keeps its network, and with it the cable, for seconds.
func Hold(ctx context.Context, run string, do func() error) error {
	pids, err := process.Find(run)
	if err != nil {
		return fmt.Errorf("find the processes of %s: %w", run, err)
	}
	var alive []int
	for _, pid := range pids {
		for _, kind := range []string{"net", "mnt"} {
			if f, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind)); err == nil { // or it is gone
				defer func() { _ = f.Close() }()
			}
		}
		if fd, err := unix.PidfdOpen(pid, 0); err == nil {
			defer func() { _ = unix.Close(fd) }()
			alive = append(alive, fd)
		}
	}
	if err := do(); err != nil {
		return err
	}
	for _, fd := range alive {
		if err := awaitEnd(ctx, fd); err != nil {
			return fmt.Errorf("wait for the processes of %s: %w", run, err)
		}
	}
	return nil
}

// awaitEnd waits until a process is gone. Its memory, and with it its mark, goes
// long before its sockets.
func awaitEnd(ctx context.Context, pidfd int) error {
	ended := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}} //nolint:gosec // descriptors are small
	for {
		n, err := unix.Poll(ended, 100) // ms, then look at ctx
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return err
		case n > 0:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}
