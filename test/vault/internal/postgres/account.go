package postgres

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// account is whom the server runs as, for it refuses root. A nil one is the
// user who runs this program.
type account struct{ uid, gid uint32 }

func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup(Admin) // the package brings it
	if err != nil {
		return nil, fmt.Errorf("find whom PostgreSQL can run as: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", Admin, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("user %s: %w", Admin, err)
	}
	return &account{uid: uint32(uid), gid: uint32(gid)}, nil
}

func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return os.Chown(path, int(a.uid), int(a.gid))
}

// capDacReadSearch lets its owner walk through folders: those above the
// database are for root only.
const capDacReadSearch = 2

func (a *account) attributes() *syscall.SysProcAttr {
	if a == nil {
		return &syscall.SysProcAttr{}
	}
	return &syscall.SysProcAttr{
		Credential:  &syscall.Credential{Uid: a.uid, Gid: a.gid},
		AmbientCaps: []uintptr{capDacReadSearch},
	}
}

// flags give the server namespaces of its own: when its first process is
// killed, its children and its shared memory go too.
func (a *account) flags() uintptr {
	if a == nil {
		return 0
	}
	return syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC
}
