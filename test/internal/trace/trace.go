package trace

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Point is the entry or the exit of a system call.
type Point struct {
	// Call is the call's name and, where that matters, what it is made on.
	Call string
	// Nth counts the calls of that name since the trace began, from 1.
	Nth  int
	Exit bool
}

func (p Point) String() string {
	at := "entry"
	if p.Exit {
		at = "exit"
	}
	return fmt.Sprintf("%s #%d, %s", p.Call, p.Nth, at)
}

// Trace is a process that is stopped at each system call of each of its threads.
type Trace struct {
	pid    int
	kill   func(Point) bool
	counts map[string]int
	inside map[int]Point // by thread: the call that it is in
	result Result
	done   chan struct{}
}

// Result is what a trace saw until the process ended.
type Result struct {
	// Points are those that were passed, in order, the last one being where the process
	// was killed, if it was.
	Points []Point
	Killed bool
	Err    error
}

// Attach traces a process from now on. It is killed at the first point for which kill
// returns true. The process must not be a child of a thread that traces others.
func Attach(pid int, kill func(Point) bool) (*Trace, error) {
	t := &Trace{pid: pid, kill: kill, counts: map[string]int{}, inside: map[int]Point{}, done: make(chan struct{})}
	attached := make(chan error)
	go func() {
		runtime.LockOSThread() // what traces is a thread
		defer runtime.UnlockOSThread()
		defer close(t.done)
		err := t.seize()
		attached <- err
		if err == nil {
			t.result.Err = t.follow()
		}
	}()
	return t, <-attached
}

// End kills the process if it lives still, and returns when it is gone.
func (t *Trace) End() Result {
	select {
	case <-t.done: // another process may have its number by now
	default:
		_ = unix.Kill(t.pid, unix.SIGKILL)
	}
	<-t.done
	return t.result
}

const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_EXITKILL

// seize takes all threads. Those that a seized one makes are traced from the start;
// so the second look that finds nothing new has found all.
func (t *Trace) seize() error {
	seized := map[int]bool{}
	for fresh := true; fresh; {
		fresh = false
		dirs, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", t.pid))
		if err != nil {
			return err
		}
		for _, dir := range dirs {
			tid, err := strconv.Atoi(filepath.Base(dir))
			if err != nil || seized[tid] {
				continue
			}
			seized[tid], fresh = true, true
			if err := seizeThread(tid); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("seize thread %d: %w", tid, err)
			}
		}
	}
	if len(seized) == 0 {
		return fmt.Errorf("seize process %d: it is gone", t.pid)
	}
	return nil
}

func seizeThread(tid int) error {
	err := ptrace(unix.PTRACE_SEIZE, tid, 0, options)
	if errors.Is(err, unix.EPERM) && tracedBy(tid) {
		return nil // a new thread of a seized one
	}
	if err != nil {
		return err
	}
	return ptrace(unix.PTRACE_INTERRUPT, tid, 0, 0)
}

func tracedBy(tid int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	return err == nil && strings.Contains(string(status), fmt.Sprintf("\nTracerPid:\t%d\n", unix.Gettid()))
}

// follow lets threads run from stop to stop until the process is gone.
func (t *Trace) follow() error {
	for {
		var status unix.WaitStatus
		// Only what this thread traces: processes that others wait for are not its business.
		tid, err := unix.Wait4(-1, &status, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return nil
		case err != nil:
			return fmt.Errorf("wait for a thread of process %d: %w", t.pid, err)
		case !status.Stopped():
			if tid == t.pid {
				return nil
			}
			continue
		}
		signal, err := t.stopped(tid, status)
		if err != nil {
			return err
		}
		if err := ptrace(unix.PTRACE_SYSCALL, tid, 0, uintptr(signal)); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("resume thread %d: %w", tid, err)
		}
	}
}

// stopped handles a stop, and returns the signal to deliver.
func (t *Trace) stopped(tid int, status unix.WaitStatus) (unix.Signal, error) {
	switch signal := status.StopSignal(); {
	case signal == unix.SIGTRAP|0x80:
		return 0, t.called(tid)
	case int(status)>>16 != 0: // an event, not a signal
		return 0, nil
	default:
		return signal, nil
	}
}

// called handles the entry or the exit of a call.
func (t *Trace) called(tid int) error {
	info, err := syscallInfo(tid)
	if errors.Is(err, unix.ESRCH) || t.result.Killed {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at a call of thread %d: %w", tid, err)
	}
	var p Point
	switch info.Op {
	case opEntry:
		name := t.nameOf(int(info.Nr), int(int32(info.Args[0]))) //nolint:gosec // a file descriptor, or none
		if name == "" {
			delete(t.inside, tid)
			return nil
		}
		t.counts[name]++
		p = Point{Call: name, Nth: t.counts[name]}
		t.inside[tid] = p
	case opExit:
		var known bool
		if p, known = t.inside[tid]; !known {
			return nil
		}
		delete(t.inside, tid)
		p.Exit = true
	default:
		return nil
	}
	t.result.Points = append(t.result.Points, p)
	if t.kill(p) {
		t.result.Killed = true
		if err := unix.Kill(t.pid, unix.SIGKILL); err != nil {
			return fmt.Errorf("kill process %d: %w", t.pid, err)
		}
	}
	return nil
}

// The stops that PTRACE_GET_SYSCALL_INFO tells of.
const (
	opEntry = 1
	opExit  = 2
)

// callInfo is struct ptrace_syscall_info of the kernel, at an entry.
type callInfo struct {
	Op     uint8
	_      [3]uint8
	Arch   uint32
	IP, SP uint64
	Nr     uint64
	Args   [6]uint64
}

func syscallInfo(tid int) (info callInfo, err error) {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid),
		unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0) //nolint:gosec // G103: how ptrace takes it
	if errno != 0 {
		return info, errno
	}
	return info, nil
}

func ptrace(request, tid int, addr, data uintptr) error {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(request), uintptr(tid), addr, data, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
