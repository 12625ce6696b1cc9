package confine

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	seccomp "github.com/elastic/go-seccomp-bpf"
	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// ErrUnsupported is returned by a build with cgo, which cannot act on all threads.
var ErrUnsupported = errors.New("a build with cgo cannot confine its threads")

// kept are the capabilities that the driver needs: to mount and to keep its notes,
// to give files to a group, and to reach sockets and directories of other users.
func kept() uint64 {
	return 1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE
}

// denied are system calls that the driver never makes and that would help someone
// who has taken it over: to run programs, enter or make namespaces, look into other
// processes, load code into the kernel, reach files by handle or change the node.
// What is not listed stays allowed, so that no new release of Go or of the kernel
// stops the driver.
func denied() []string {
	return []string{
		"execve", "execveat", "unshare", "setns", "clone3", "pivot_root", "chroot",
		"ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "pidfd_getfd", "process_madvise",
		"init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf", "perf_event_open", "userfaultfd",
		"open_by_handle_at", "name_to_handle_at", "io_uring_setup", "io_uring_enter", "io_uring_register",
		"add_key", "request_key", "keyctl", "swapon", "swapoff", "reboot", "syslog", "acct", "quotactl", "personality",
		"sethostname", "setdomainname", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex",
		"fanotify_init", "lookup_dcookie", "vhangup", "nfsservctl", "setuid", "setgid", "setresuid", "setresgid", "setreuid", "setregid",
		"setgroups", "mknodat",
	}
}

// Reduce confines every thread of the process, present and future, for good.
func Reduce() error {
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0); errno != 0 {
		if errno == syscall.ENOTSUP {
			return ErrUnsupported
		}
		return fmt.Errorf("give up new privileges: %w", errno)
	}
	if err := dropBounding(); err != nil {
		return err
	}
	if err := dropCapabilities(); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("forbid dumps of memory: %w", err)
	}
	filter := seccomp.Filter{
		Flag: seccomp.FilterFlagTSync,
		Policy: seccomp.Policy{
			DefaultAction: seccomp.ActionAllow,
			Syscalls:      []seccomp.SyscallGroup{{Names: denied(), Action: seccomp.ActionErrno}},
		},
	}
	if err := seccomp.LoadFilter(filter); err != nil {
		return fmt.Errorf("filter system calls: %w", err)
	}
	return refuseForeign()
}

// otherNumbers is where amd64 has the numbers of its x32 calls.
const otherNumbers = 0x40000000

// refuseForeign refuses the calls of other architectures that the kernel also
// serves, such as the 32-bit ones: their numbers mean other calls, and the filter
// above lets them pass.
func refuseForeign() error {
	info, err := arch.GetInfo("")
	if err != nil {
		return fmt.Errorf("filter system calls: %w", err)
	}
	refuse := bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)}
	program, err := bpf.Assemble([]bpf.Instruction{
		bpf.LoadAbsolute{Off: 4, Size: 4}, // seccomp_data.arch
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(info.ID), SkipTrue: 1},
		refuse,
		bpf.LoadAbsolute{Off: 0, Size: 4}, // seccomp_data.nr
		bpf.JumpIf{Cond: bpf.JumpLessThan, Val: otherNumbers, SkipTrue: 1},
		refuse,
		bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW},
	})
	if err != nil {
		return fmt.Errorf("filter system calls: %w", err)
	}
	filter := make([]unix.SockFilter, len(program))
	for i, in := range program {
		filter[i] = unix.SockFilter{Code: in.Op, Jt: in.Jt, Jf: in.Jf, K: in.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]} //nolint:gosec // seven
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&fprog))) //nolint:gosec // the call takes an address
	if errno != 0 {
		return fmt.Errorf("refuse system calls of other architectures: %w", errno)
	}
	return nil
}

func dropBounding() error {
	last, err := lastCapability()
	if err != nil {
		return err
	}
	for c := range last + 1 {
		if kept()&(1<<c) != 0 {
			continue
		}
		if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, uintptr(c), 0); errno != 0 {
			return fmt.Errorf("drop capability %d from the bounding set: %w", c, errno)
		}
	}
	return nil
}

func lastCapability() (int, error) {
	text, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return 0, fmt.Errorf("count capabilities: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	for i := range data {
		keep := data[i].Permitted & uint32(kept()>>(32*i)) //nolint:gosec // the half that is meant
		data[i] = unix.CapUserData{Effective: keep, Permitted: keep}
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET,
		uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&data[0])), 0) //nolint:gosec // the call takes addresses
	if errno != 0 {
		return fmt.Errorf("drop capabilities: %w", errno)
	}
	return nil
}
