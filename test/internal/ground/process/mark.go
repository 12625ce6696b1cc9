package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const variable = "STRONGROOM_GROUND="

// Mark is the environment variable that a process and its children carry for
// the run folder they belong to.
func Mark(run string) string {
	return variable + run
}

// Find returns the processes that carry the mark of a run folder, oldest
// first as far as process numbers tell. Processes seen from here inside other
// process namespaces are included.
func Find(run string) ([]int, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	want := []byte(Mark(run))
	var pids []int
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil {
			continue // gone, or not ours to read and so not ours
		}
		for e := range bytes.SplitSeq(env, []byte{0}) {
			if bytes.Equal(e, want) {
				pids = append(pids, pid)
			}
		}
	}
	return pids, nil
}

// End stops every process that carries the mark: it asks them, and kills those
// that are still there after the patience is over.
func End(ctx context.Context, run string, patience time.Duration) error {
	if err := signal(run, syscall.SIGTERM); err != nil {
		return err
	}
	kill := time.Now().Add(patience)
	for {
		pids, err := Find(run)
		if err != nil {
			return fmt.Errorf("find the processes of %s: %w", run, err)
		}
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(kill) {
			if err := signal(run, syscall.SIGKILL); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop processes %v of %s: %w", pids, run, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func signal(run string, sig syscall.Signal) error {
	pids, err := Find(run)
	if err != nil {
		return fmt.Errorf("find the processes of %s: %w", run, err)
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("send %s to process %d of %s: %w", sig, pid, run, err)
		}
	}
	return nil
}
