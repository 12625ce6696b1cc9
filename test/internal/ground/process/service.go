package process

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// pause keeps a service that cannot start from filling its log.
const pause = time.Second

// Service is a program that should always run.
type Service struct {
	Name string
	Args []string // the program first
	Log  string   // file that its output is appended to
}

// Keep runs the service until ctx ends, and starts it again when it stops.
func (s Service) Keep(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.once(ctx)
		if ctx.Err() != nil {
			return
		}
		log.Printf("%s stopped (%v), starting it again", s.Name, err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

func (s Service) once(ctx context.Context) error {
	out, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	cmd := exec.CommandContext(ctx, s.Args[0], s.Args[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	return cmd.Run()
}

// Detach starts a command in a session of its own with its output in a file,
// marked as belonging to a run folder. The caller does not wait for it.
func Detach(cmd *exec.Cmd, run, logFile string) error {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("open the log of %s: %w", cmd.Path, err)
	}
	defer func() { _ = out.Close() }()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = append(cmd.Env, Mark(run))
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	if err := keepFiles(); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return nil
}

// keepFiles keeps files that this process inherited from children: one who reads
// the other end of such a pipe would wait as long as the child lives.
func keepFiles() error {
	names, err := filepath.Glob("/proc/self/fd/[0-9]*")
	if err != nil {
		return err
	}
	for _, name := range names {
		if fd, err := strconv.Atoi(filepath.Base(name)); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
	return nil
}
