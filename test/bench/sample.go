package main

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// sample is what calls took.
type sample struct {
	took []time.Duration // in ascending order
	wall time.Duration
}

func (s sample) rate() float64 { return float64(len(s.took)) / s.wall.Seconds() }

func (s sample) quantile(q float64) time.Duration {
	if len(s.took) == 0 {
		return 0
	}
	return s.took[min(len(s.took)-1, int(q*float64(len(s.took))))]
}

// measure makes n calls, of which so many are in flight all the time.
func measure(ctx context.Context, n, inFlight int, call func(ctx context.Context, i int) error) (sample, error) {
	s := sample{took: make([]time.Duration, n)}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(inFlight)
	begin := time.Now()
	for i := range n {
		group.Go(func() error {
			took, err := stand.Took(func() error { return call(ctx, i) })
			s.took[i] = took
			return err
		})
	}
	err := group.Wait()
	s.wall = time.Since(begin)
	slices.Sort(s.took)
	return s, err
}

// median returns the sample with the median rate.
func median(samples []sample) sample {
	slices.SortFunc(samples, func(a, b sample) int { return int(a.rate() - b.rate()) })
	return samples[len(samples)/2]
}
