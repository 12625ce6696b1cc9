package trace

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// nameOf names a call, or returns "" for one that is skipped: the Go runtime's own
// housekeeping. Its number and order differ from run to run, and none of it touches a
// file, a mount or a connection.
func (t *Trace) nameOf(nr, fd int) string {
	if skipped(nr) {
		return ""
	}
	name, known := names()[nr]
	if !known {
		name, known = archNames()[nr]
	}
	if !known {
		return fmt.Sprintf("call %d", nr)
	}
	switch nr {
	case unix.SYS_READ, unix.SYS_WRITE, unix.SYS_CLOSE, unix.SYS_FCNTL:
	default:
		return name
	}
	kind := t.kindOf(fd)
	if kind == "" {
		return ""
	}
	return name + "(" + kind + ")"
}

// kindOf says what a file descriptor is of, so that the numbering of calls on files
// does not depend on those on connections; "" if it is the runtime's.
func (t *Trace) kindOf(fd int) string {
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.pid, fd))
	switch {
	case err != nil:
		return "nothing"
	case strings.HasPrefix(target, "socket:"):
		return "socket"
	case strings.HasPrefix(target, "anon_inode:[event"), strings.HasPrefix(target, "anon_inode:[pidfd"), strings.HasPrefix(target, "pipe:"):
		return ""
	case strings.HasPrefix(target, "anon_inode:"):
		return strings.Trim(strings.TrimPrefix(target, "anon_inode:"), "[]")
	case strings.HasSuffix(target, ".log"):
		return "log"
	}
	return "file"
}

func skipped(nr int) bool {
	switch nr {
	case unix.SYS_FUTEX, unix.SYS_EPOLL_PWAIT, unix.SYS_EPOLL_CTL, unix.SYS_NANOSLEEP, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_CLOCK_GETTIME,
		unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY, unix.SYS_MADVISE, unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT,
		unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGACTION, unix.SYS_SIGALTSTACK, unix.SYS_TGKILL,
		unix.SYS_GETTID, unix.SYS_GETPID, unix.SYS_CLONE, unix.SYS_CLONE3, unix.SYS_EXIT, unix.SYS_RESTART_SYSCALL,
		unix.SYS_SET_ROBUST_LIST, unix.SYS_RSEQ, unix.SYS_MEMBARRIER, unix.SYS_GETRANDOM, unix.SYS_PRCTL, unix.SYS_TIMER_SETTIME:
		return true
	}
	return false
}

// names are those of calls that every architecture has. Others have numbers only.
func names() map[int]string {
	return map[int]string{
		unix.SYS_FSOPEN: "fsopen", unix.SYS_FSCONFIG: "fsconfig", unix.SYS_FSMOUNT: "fsmount", unix.SYS_FSPICK: "fspick",
		unix.SYS_MOVE_MOUNT: "move_mount", unix.SYS_OPEN_TREE: "open_tree", unix.SYS_MOUNT_SETATTR: "mount_setattr",
		unix.SYS_MOUNT: "mount", unix.SYS_UMOUNT2: "umount2", unix.SYS_STATFS: "statfs", unix.SYS_FSTATFS: "fstatfs",
		unix.SYS_OPENAT: "openat", unix.SYS_OPENAT2: "openat2", unix.SYS_CLOSE: "close", unix.SYS_READ: "read", unix.SYS_WRITE: "write",
		unix.SYS_PREAD64: "pread64", unix.SYS_PWRITE64: "pwrite64", unix.SYS_MKDIRAT: "mkdirat", unix.SYS_UNLINKAT: "unlinkat",
		unix.SYS_SYMLINKAT: "symlinkat", unix.SYS_READLINKAT: "readlinkat", unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2",
		unix.SYS_LINKAT: "linkat", unix.SYS_FCHMOD: "fchmod", unix.SYS_FCHMODAT: "fchmodat", unix.SYS_FCHMODAT2: "fchmodat2",
		unix.SYS_FCHOWN: "fchown", unix.SYS_FCHOWNAT: "fchownat", unix.SYS_SETXATTR: "setxattr", unix.SYS_FSETXATTR: "fsetxattr",
		unix.SYS_LSETXATTR: "lsetxattr", unix.SYS_GETXATTR: "getxattr", unix.SYS_FGETXATTR: "fgetxattr", unix.SYS_LGETXATTR: "lgetxattr",
		unix.SYS_STATX: "statx", unix.SYS_FSTAT: "fstat", unix.SYS_GETDENTS64: "getdents64", unix.SYS_FCNTL: "fcntl",
		unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate", unix.SYS_UNSHARE: "unshare", unix.SYS_SETNS: "setns",
		unix.SYS_SOCKET: "socket", unix.SYS_CONNECT: "connect", unix.SYS_ACCEPT4: "accept4", unix.SYS_SENDMSG: "sendmsg",
		unix.SYS_RECVMSG: "recvmsg", unix.SYS_GETSOCKNAME: "getsockname", unix.SYS_GETPEERNAME: "getpeername",
		unix.SYS_SETSOCKOPT: "setsockopt", unix.SYS_GETSOCKOPT: "getsockopt", unix.SYS_UNAME: "uname",
	}
}
