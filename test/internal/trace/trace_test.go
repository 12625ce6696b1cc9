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
			cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", `read line; : >"$1"; read line`, "sh", file)
			in, err := cmd.StdinPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err = cmd.Start(); err != nil {
				t.Fatal(err)
			}
			reached := make(chan struct{}, 1)
			tracing, err := trace.Attach(cmd.Process.Pid, func(p trace.Point) bool {
				if p.Call == "openat" && p.Exit {
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
			if made {
				<-reached
			} else {
				_ = cmd.Wait() // its tracer may have been first
			}
			result := tracing.End()
			_, err = os.Stat(file)
			if result.Err != nil || result.Killed != (at.Call == "openat") || errors.Is(err, fs.ErrNotExist) == made {
				t.Errorf("killed %v, %v; the file: %v", result.Killed, result.Err, err)
			}
			_ = in.Close()
			_ = cmd.Wait()
		})
	}
}
