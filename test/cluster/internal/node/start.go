package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/strongroom/strongroom/test/internal/ground/process"
	"github.com/strongroom/strongroom/test/internal/plan"
)

// The hidden commands with which the tool starts itself again. They take the run
// folder and the node's number.
const (
	InitCommand     = "node-init"
	ServicesCommand = "node-services"
)

const namespaces = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET |
	syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC

// Start starts the first process of a node and connects it to the network of this
// machine. The first node comes first: the others hang on it. If this process dies on the way, the node does too.
func Start(ctx context.Context, n plan.Node) error {
	ready, send, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _, _ = ready.Close(), send.Close() }()
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "/proc/self/exe", append([]string{InitCommand}, arguments(n)...)...)
	cmd.ExtraFiles = []*os.File{ready}
	cmd.Env = environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces}
	if err := process.Detach(cmd, string(n.Run), n.Logs(n.Name()+"-init")); err != nil {
		return err
	}
	pid := cmd.Process.Pid
	if err := os.WriteFile(n.Pid(), []byte(strconv.Itoa(pid)), 0o600); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	if err := Connect(ctx, n, pid); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	if _, err := send.Write([]byte("go")); err != nil {
		return fmt.Errorf("start %s: it stopped at once, see %s", n.Name(), n.Logs(n.Name()+"-init"))
	}
	return cmd.Process.Release()
}

func arguments(n plan.Node) []string {
	return []string{string(n.Run), strconv.Itoa(int(n.Number))}
}

// environment is small: the node must not depend on who brought it up.
func environment() []string {
	return []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME=/root",
		"TMPDIR=/run/tmp",
	}
}

// Pid returns the number of the node's first process, or 0 if it is not
// running.
func Pid(n plan.Node) int {
	b, err := os.ReadFile(n.Pid())
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return 0
	}
	env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || !strings.Contains("\x00"+string(env), "\x00"+process.Mark(string(n.Run))+"\x00") {
		return 0
	}
	return pid
}

// Containerd is the path at which this machine reaches the node's containerd.
func Containerd(n plan.Node) string {
	return fmt.Sprintf("/proc/%d/root%s", Pid(n), plan.Containerd)
}
