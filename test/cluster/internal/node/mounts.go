package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/strongroom/strongroom/test/internal/plan"
)

// tunables are settings of the whole machine that kubelet insists on. The node
// shows it these values and leaves the machine's as they are.
func tunables() map[string]string {
	return map[string]string{
		"vm/overcommit_memory":      "1",
		"vm/panic_on_oom":           "0",
		"kernel/panic":              "10",
		"kernel/panic_on_oops":      "1",
		"kernel/keys/root_maxkeys":  "1000000",
		"kernel/keys/root_maxbytes": "25000000",
	}
}

type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

func (m mount) do() error {
	if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
		return fmt.Errorf("mount %s: %w", m.target, err)
	}
	return nil
}

// mounts gives the node a /proc, /run, /etc, /var/lib and /var/log of its own.
// The cgroup hierarchies below /sys stay those of the machine. At the end all
// mounts are shared among the node's containers, and never with the machine.
func mounts(n plan.Node) error {
	steps := []mount{
		{target: "/", flags: syscall.MS_REC | syscall.MS_PRIVATE},
		{source: "proc", target: "/proc", kind: "proc", flags: syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC},
		{source: "tmpfs", target: "/run", kind: "tmpfs", flags: syscall.MS_NOSUID | syscall.MS_NODEV, data: "mode=0755"},
		{source: n.Dir("lib"), target: "/var/lib", flags: syscall.MS_BIND},
		{source: n.Dir("log"), target: "/var/log", flags: syscall.MS_BIND},
		{source: "overlay", target: "/etc", kind: "overlay", data: overlay(n)},
	}
	for _, dir := range []string{"lib", "log", "etc", "etc-work"} {
		if err := os.MkdirAll(n.Dir(dir), 0o755); err != nil { //nolint:gosec // as on any machine
			return err
		}
	}
	for _, m := range steps {
		if err := m.do(); err != nil {
			return err
		}
	}
	for _, dir := range []string{"/run/tmp", "/var/lib/kubelet"} {
		if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as on any machine
			return err
		}
	}
	if err := showTunables(n); err != nil {
		return err
	}
	return mount{target: "/", flags: syscall.MS_REC | syscall.MS_SHARED}.do()
}

// overlay lets pods make folders in /etc, as hostPath volumes do.
func overlay(n plan.Node) string {
	return "lowerdir=/etc,upperdir=" + n.Dir("etc") + ",workdir=" + n.Dir("etc-work")
}

func showTunables(n plan.Node) error {
	if err := os.MkdirAll(n.Dir("tunables"), 0o700); err != nil {
		return err
	}
	for name, value := range tunables() {
		file := n.Dir("tunables", strings.ReplaceAll(name, "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			return err
		}
		target := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(target); err != nil {
			continue // this kernel has no such setting
		}
		if err := (mount{source: file, target: target, flags: syscall.MS_BIND}).do(); err != nil {
			return err
		}
	}
	return nil
}
