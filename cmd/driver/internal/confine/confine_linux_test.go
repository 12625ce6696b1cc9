package confine

import (
	"testing"

	"github.com/elastic/go-seccomp-bpf/arch"
	"golang.org/x/sys/unix"
)

// A name that an architecture does not have would stop the driver there.
func TestDeniedCallsExist(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]*arch.Info{"amd64": arch.X86_64, "arm64": arch.AARCH64} {
		for _, call := range denied() {
			if _, ok := a.SyscallNames[call]; !ok {
				t.Errorf("%s has no system call %s", name, call)
			}
		}
	}
}

// 0x200003 is what the test on a real node reads in /proc.
func TestKept(t *testing.T) {
	t.Parallel()
	if kept() != 0x200003 || unix.CAP_SYS_ADMIN != 21 {
		t.Errorf("%#x", kept())
	}
}
