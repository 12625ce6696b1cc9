package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/strongroom/strongroom/test/soak/internal/testimony"
)

func main() {
	dir := flag.String("dir", "/mnt/0", "folder of the volume")
	report := flag.String("report", "/report", "folder for the report")
	pause := flag.Duration("pause", 100*time.Millisecond, "time between two reads")
	termination := flag.String("termination", "/dev/termination-log", "where violations are told")
	flag.Parse()
	err := run(&watch{dir: *dir, report: *report, pause: *pause, now: time.Now, said: testimony.Report{
		Pod: os.Getenv("POD_NAMESPACE") + "/" + os.Getenv("POD_NAME"),
		UID: os.Getenv("POD_UID"),
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "observer:", err)
		_ = os.WriteFile(*termination, []byte(err.Error()), 0o600)
		os.Exit(1)
	}
}

func run(w *watch) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return w.run(ctx)
}

// run goes on until ctx ends or something is not as it was promised.
func (w *watch) run(ctx context.Context) error {
	if err := w.said.Resume(w.report); err != nil {
		return err
	}
	next := time.NewTicker(w.pause)
	defer next.Stop()
	for ctx.Err() == nil {
		if len(w.said.Violations) == 0 {
			w.look()
		}
		if len(w.said.Violations) > 0 {
			return errors.Join(errors.New(strings.Join(w.said.Violations, "; ")), w.said.Write(w.report))
		}
		if w.now().Sub(w.said.Written) >= time.Second {
			if err := w.write(); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
		case <-next.C:
		}
	}
	return w.write()
}

func (w *watch) write() error {
	w.said.Written = w.now()
	return w.said.Write(w.report)
}
