package stand

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

const denied = "--strongroom-denied="

// WithoutMountAPI is for Before of a driver: it makes the calls fail that mount a file
// system that is nowhere yet, as on a kernel or under a filter that lacks them.
func WithoutMountAPI(errno syscall.Errno) []string {
	return []string{"/proc/self/exe", denied + strconv.Itoa(int(errno))}
}

// BecomeDenied is to be called first thing in main. If this process was started as
// WithoutMountAPI says, it becomes the program that its arguments name.
func BecomeDenied() error {
	if len(os.Args) < 3 || len(os.Args[1]) <= len(denied) || os.Args[1][:len(denied)] != denied {
		return nil
	}
	errno, err := strconv.ParseUint(os.Args[1][len(denied):], 10, 12)
	if err != nil {
		return fmt.Errorf("parse %s: %w", os.Args[1], err)
	}
	runtime.LockOSThread() // the filter is the thread's, and exec keeps it
	if err := install(filter(uint32(errno))); err != nil {
		return fmt.Errorf("install a filter: %w", err)
	}
	return errors.Join(errors.New("become "+os.Args[2]), syscall.Exec(os.Args[2], os.Args[2:], os.Environ())) //nolint:gosec // G702: what it is for
}

func filter(errno uint32) []unix.SockFilter {
	calls := []uint32{
		unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK, unix.SYS_MOUNT_SETATTR,
	}
	code := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the number of the call
	for i, nr := range calls {
		code = append(code, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: nr, Jt: uint8(len(calls) - i)}) //nolint:gosec // few
	}
	return append(code,
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | errno})
}

func install(code []unix.SockFilter) error {
	program := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]} //nolint:gosec // few
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0) //nolint:gosec // G103: how prctl takes it
}
