package trace

import "golang.org/x/sys/unix"

// archNames are those of calls that newer architectures do not have.
func archNames() map[int]string {
	return map[int]string{
		unix.SYS_OPEN: "open", unix.SYS_STAT: "stat", unix.SYS_LSTAT: "lstat", unix.SYS_NEWFSTATAT: "newfstatat",
		unix.SYS_MKDIR: "mkdir", unix.SYS_RMDIR: "rmdir", unix.SYS_UNLINK: "unlink", unix.SYS_RENAME: "rename",
		unix.SYS_SYMLINK: "symlink", unix.SYS_READLINK: "readlink", unix.SYS_CHMOD: "chmod", unix.SYS_CHOWN: "chown",
		unix.SYS_ACCESS: "access",
	}
}
