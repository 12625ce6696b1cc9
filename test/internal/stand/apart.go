package stand

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	apart = "STRONGROOM_APART"
	// Memory is a tmpfs of the namespaces: whatever is in it goes with them.
	Memory = "/dev/shm"
)

// Apart runs this program again, in mount, process and network namespaces of its own,
// and there calls run. When the program ends, however it ends, no process, mount or
// file of it is left. It returns the exit code.
func Apart(ctx context.Context, run func() int) (int, error) {
	if os.Getenv(apart) != "" {
		if err := enter(); err != nil {
			return 1, err
		}
		return run(), nil
	}
	if os.Geteuid() != 0 {
		return 1, errors.New("this needs root: it mounts and makes namespaces")
	}
	runtime.LockOSThread() // Pdeathsig is about the thread
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...) //nolint:gosec // G702: itself, as it was called
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), apart+"=1", "TMPDIR="+Memory)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL,
	}
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return max(exit.ExitCode(), 1), nil
	}
	if err != nil {
		return 1, fmt.Errorf("run apart: %w", err)
	}
	return 0, nil
}

// enter makes the namespaces usable.
func enter() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := unix.Mount("tmpfs", Memory, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount %s: %w", Memory, err)
	}
	return loopback()
}

// loopback switches the network on, which has nothing but 127.0.0.1.
func loopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request); err != nil {
		return fmt.Errorf("switch loopback on: %w", err)
	}
	return nil
}
