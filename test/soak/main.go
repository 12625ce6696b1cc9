package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/strongroom/strongroom/test/internal/ground/folder"
)

// options are the command line.
type options struct {
	lasts  time.Duration
	pods   int
	faults bool
	seed   uint64
	run    string
	absent time.Duration
}

func main() {
	var o options
	flag.DurationVar(&o.lasts, "for", 3*time.Minute, "how long pods come and go")
	flag.IntVar(&o.pods, "pods", 20, "pods at a time")
	flag.BoolVar(&o.faults, "faults", false, "kill and break things meanwhile; growth is not judged then")
	flag.Uint64Var(&o.seed, "seed", 0, "of the random choices; 0 is another one each time")
	flag.DurationVar(&o.absent, "outage", 0, "no pods come and go: the API server is gone for so long, stopped and then killed")
	flag.StringVar(&o.run, "run", string(folder.Cluster()), "run folder of the cluster")
	flag.Parse()
	if o.seed == 0 {
		o.seed = rand.Uint64() //nolint:gosec // it is printed, and no secret
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// run goes through all steps; what the pods saw and left is told also after a failure.
func run(ctx context.Context, o options) error {
	s, err := newSoak(o)
	if err != nil {
		return err
	}
	s.log.Say("seed %d: -for %s -pods %d -faults=%t", o.seed, o.lasts, o.pods, o.faults)
	if err = s.prepare(ctx); err != nil {
		return err
	}
	before, err := s.measure(ctx)
	if err != nil {
		return fmt.Errorf("before any pod: %w", err)
	}
	if o.absent > 0 {
		return errors.Join(s.outages(ctx), s.verdict(), s.log.Do("nothing is left of the pods", func() error { return s.leave(ctx, before) }))
	}
	grown := s.churn(ctx)
	fresh := s.log.Do("all files are fresh again", func() error { return s.settle(ctx) })
	seen := s.verdict()
	left := s.log.Do("nothing is left of the pods", func() error { return s.leave(ctx, before) })
	return errors.Join(grown, fresh, seen, left)
}
