package main

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// Each node has a network of its own, and finds a metadata endpoint in it.
func TestMetadataInAnotherNetwork(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can enter the network of another process")
	}
	const address = "169.254.169.254:80"
	pid := elsewhere(t)
	at, err := listen(t.Context(), options{listen: "127.0.0.1:0", metadata: address, networks: pid})
	if err != nil {
		t.Fatal(err)
	}
	defer at.close()
	var dialer net.Dialer
	if err := within(pid, func() {
		connection, err := dialer.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Error(err)
			return
		}
		_ = connection.Close() // that it is there is all
	}); err != nil {
		t.Error(err)
	}
}

func TestNetworkThatIsGone(t *testing.T) {
	if at, err := listen(t.Context(), options{listen: "127.0.0.1:0", metadata: "127.0.0.1:0", networks: "none"}); err == nil {
		at.close()
		t.Error("listens in the network of no process")
	}
}

// elsewhere is a process with a network of its own, in which the address is.
func elsewhere(t *testing.T) (pid string) {
	t.Helper()
	script := "ip link set lo up && ip addr replace 169.254.169.254/32 dev lo && echo ready && cat"
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), "unshare", "--net", "sh", "-c", script)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // ends it
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("made no network: %q, %v", line, err)
	}
	return strconv.Itoa(cmd.Process.Pid)
}
