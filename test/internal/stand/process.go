package stand

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	patience = 30 * time.Second // with what takes milliseconds on an idle machine
	pause    = 2 * time.Millisecond
)

// process is a program under test. Nothing waits for it in the background, so that it
// can be traced from any thread. It is signalled and waited for by a descriptor: with
// thousands of restarts, another process has its number soon after it is gone.
type process struct {
	Pid  int
	self *os.File // closed when nobody has the process any more
	log  string
}

// parent is a thread that starts all processes. To the kernel a parent is a thread, and
// one that traces must not have children of its own: as their parent it would be told of
// stops that another thread's trace waits for.
type parent struct {
	jobs chan func()
}

func newParent() *parent {
	p := &parent{jobs: make(chan func())}
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for job := range p.jobs {
			job()
		}
	}()
	return p
}

func (p *parent) fork(args []string, attr *syscall.ProcAttr) (pid int, err error) {
	done := make(chan struct{})
	p.jobs <- func() {
		defer close(done)
		pid, err = syscall.ForkExec(args[0], args, attr)
	}
	<-done
	return pid, err
}

// start starts a program whose output is appended to a file. Its mount namespace is
// its own, and shares the pods folder.
func (n Node) start(args []string, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open a log: %w", err)
	}
	defer func() { _ = out.Close() }()
	pid, err := n.parent.fork(args, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, out.Fd(), out.Fd()},
		Sys: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS},
	})
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	return &process{Pid: pid, self: os.NewFile(uintptr(fd), "pidfd"), log: log}, nil
}

// fd is the descriptor; keep must be called when it has been used.
func (p *process) fd() (fd int, keep func()) {
	return int(p.self.Fd()), func() { runtime.KeepAlive(p.self) }
}

func (p *process) signal(s unix.Signal) error {
	fd, keep := p.fd()
	defer keep()
	return unix.PidfdSendSignal(fd, s, nil, 0)
}

// Kill sends SIGKILL and waits for the end.
func (p *process) Kill() error {
	if err := p.signal(unix.SIGKILL); err != nil {
		return fmt.Errorf("kill process %d: %w", p.Pid, err)
	}
	return p.reap()
}

// Stop asks the process to end, and waits for that.
func (p *process) Stop() error {
	if err := p.signal(unix.SIGTERM); err != nil {
		return fmt.Errorf("stop process %d: %w", p.Pid, err)
	}
	return p.reap()
}

func (p *process) reap() error {
	fd, keep := p.fd()
	defer keep()
	for {
		err := unix.Waitid(unix.P_PIDFD, fd, nil, unix.WEXITED|unix.WALL, nil)
		if err == nil || errors.Is(err, unix.ECHILD) { // its tracer was first
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", p.Pid, err)
		}
	}
}

// Log returns the last lines that the process wrote.
func (p *process) Log() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// RSS is the resident memory in KiB.
func (p *process) RSS() (int, error) {
	rss, _, err := Resident(p.Pid)
	return rss, err
}

// Resident is what a process has in memory, and had at most, in KiB.
func Resident(pid int) (rss, peak int, err error) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, 0, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	for line := range strings.Lines(string(status)) {
		for name, into := range map[string]*int{"VmRSS:": &rss, "VmHWM:": &peak} {
			if text, ok := strings.CutPrefix(line, name); ok {
				if *into, err = strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(text), " kB")); err != nil {
					return 0, 0, fmt.Errorf("read memory of process %d: %w", pid, err)
				}
			}
		}
	}
	if rss == 0 {
		return 0, 0, fmt.Errorf("process %d has no VmRSS", pid)
	}
	return rss, peak, nil
}

// until repeats try until it succeeds, for as long as a patient operator would wait.
func (p *process) until(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if p.Ended() {
			return fmt.Errorf("process %d ended: %w; its log ends with\n%s", p.Pid, err, p.Log())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for process %d: %w; its log ends with\n%s", p.Pid, err, p.Log())
		case <-time.After(pause):
		}
	}
}

// Ended says whether the process is gone, or is a zombie.
func (p *process) Ended() bool {
	fd, keep := p.fd()
	defer keep()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) //nolint:gosec // a descriptor is small
	return err == nil && n > 0
}
