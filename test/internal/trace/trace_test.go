package trace_test

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/strongroom/strongroom/test/internal/trace"
)

// A call that is stopped at its entry has had no effect; at its exit it has had all.
func TestKill(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, or ptrace of other processes")
	}
	for at, made := range map[trace.Point]bool{
		{Call: "openat", Nth: 1}:             false,
		{Call: "openat", Nth: 1, Exit: true}: true,
		{Call: "no such call", Nth: 1}:       true,
	} {
		t.Run(at.String(), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file")
			result := strike(t, file, at)
			if result.Err != nil || result.Killed != (at.Call == "openat") {
				t.Errorf("killed %v, %v", result.Killed, result.Err)
			}
			if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) == made {
				t.Errorf("the file: %v", err)
			}
		})
	}
}

// strike has a shell make a file, and kills it at a point, or when the file is there.
func strike(t *testing.T, file string, at trace.Point) trace.Result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `echo; read line; : >"$1"; read line`, "sh", file)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err = out.Read(make([]byte, 1)); err != nil { // it has loaded its libraries
		t.Fatal(err)
	}
	reached := make(chan struct{}, 2)
	tracing, err := trace.Attach(cmd.Process.Pid, func(p trace.Point) bool {
		if p == at || p.Call == "openat" && p.Exit {
			reached <- struct{}{}
		}
		return p == at
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = in.Write([]byte("go\n")); err != nil {
		t.Fatal(err)
	}
	<-reached
	result := tracing.End()
	_ = in.Close()
	_ = cmd.Wait() // its tracer was first
	return result
}
