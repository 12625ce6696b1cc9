package process

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestDetachFindEnd(t *testing.T) {
	for _, c := range []struct{ name, script string }{
		{"obedient", "sleep 1000"},
		{"stubborn", `trap "" TERM; while :; do sleep 1000; done`},
	} {
		t.Run(c.name, func(t *testing.T) {
			run := t.TempDir()
			cmd := exec.CommandContext(t.Context(), "sh", "-c", c.script)
			if err := Detach(cmd, run, filepath.Join(run, "log")); err != nil {
				t.Fatal(err)
			}
			go func() { _ = cmd.Wait() }() // as process 1 does for the real ones
			pids, err := Find(run)
			if err != nil || !slices.Contains(pids, cmd.Process.Pid) {
				t.Fatalf("Find = %v, %v, want %d in it", pids, err, cmd.Process.Pid)
			}
			if others, _ := Find(run + "x"); len(others) != 0 {
				t.Errorf("found %v by a longer mark", others)
			}
			if err := End(t.Context(), run, 100*time.Millisecond); err != nil {
				t.Fatal(err)
			}
			if pids, _ := Find(run); len(pids) != 0 {
				t.Errorf("still there: %v", pids)
			}
		})
	}
}
