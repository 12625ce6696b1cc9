package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/strongroom/strongroom/api/v1"
	"github.com/strongroom/strongroom/internal/azuretest/cloud"
	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/test/internal/stand"
)

const (
	scaleInterval  = 5 * time.Second
	scaleIntervals = 3
	scaleDelay     = 50 // milliseconds until the store answers
	scaleQuota     = 20 // requests that the store answers in a second
	coldPods       = 250
	coldClasses    = 25
	coldInterval   = 2 * time.Minute // the default one
)

// scaling finds out what grows with what.
type scaling struct {
	*bench

	cloud  *cloud.Cloud
	shared []stand.Volume                   // of one class
	status *v1.SecretProviderClassPodStatus // one that the driver wrote

	alone, beside []load
	foreign       []kindSize
	cold          []coldStart
	restarts      []restart
}

// steps are numbers of volumes on the node.
func (s *scaling) steps() []int { return []int{50, 100, 250, 500} }

// scale measures one node with few and many volumes, in an empty cluster and in one that
// is full of other nodes' objects, and then what many nodes do to an API server.
func (b *bench) scale(ctx context.Context) (err error) {
	azure, end, err := b.startAzure(ctx, coldClasses*azureSecrets, cloud.Quota{Requests: scaleQuota, Seconds: 1})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	for _, where := range []string{"vault", "authority"} {
		azure.AddFault(cloud.Fault{Where: where, Millis: scaleDelay})
	}
	s := &scaling{bench: b, cloud: azure}
	for _, step := range []struct {
		name string
		do   func(context.Context) error
		show func(*strings.Builder)
	}{
		{"classes and pods", s.prepare, machineLine},
		{"a node in an empty cluster", func(ctx context.Context) (err error) { s.alone, err = s.loads(ctx); return err }, nil},
		{"objects of other nodes", s.foreigners, s.foreignTable},
		{"a node in a full cluster", func(ctx context.Context) (err error) { s.beside, err = s.loads(ctx); return err }, s.loadTable},
		{"a cold start of many pods", s.coldStarts, s.coldTable},
		{"restarts of the API server", s.fleet, s.restartTable},
	} {
		begin := time.Now()
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Fprintf(os.Stderr, "bench: %s: %s\n", step.name, time.Since(begin).Round(time.Second))
		if step.show != nil {
			var t strings.Builder
			step.show(&t)
			fmt.Print(t.String())
		}
	}
	return nil
}

func (s *scaling) prepare(ctx context.Context) (err error) {
	if err = s.azureClass(ctx, "azure", 0); err != nil {
		return err
	}
	for i := range coldClasses {
		if err = s.azureClass(ctx, coldClass(i), i*azureSecrets); err != nil {
			return err
		}
	}
	steps := s.steps()
	s.shared, err = s.waiting(ctx, steps[len(steps)-1], "azure")
	return err
}

// waiting returns the volumes of as many pods, of which kubelet knows nothing yet.
func (s *scaling) waiting(ctx context.Context, n int, class string) ([]stand.Volume, error) {
	volumes, err := s.podsFor(ctx, azureAudience, n, class)
	for _, v := range volumes {
		err = errors.Join(err, v.Forget())
	}
	return volumes, err
}

func coldClass(i int) string { return fmt.Sprintf("cold-%d", i) }

// running are the programs of a node.
type running struct {
	driver   *stand.Driver
	provider *stand.Store
}

// withAzure runs a fresh provider and a fresh driver for as long as do runs.
func (s *scaling) withAzure(ctx context.Context, interval time.Duration, do func(running) error) error {
	p, err := s.node.StartStore(ctx, "azure", filepath.Join(s.root, "bin/linux/provider-azure"), "--cloud-name=AzureStackCloud")
	if err != nil {
		return err
	}
	err = s.with(ctx, func(d *stand.Driver) error { return do(running{d, p}) },
		"--enable-secret-rotation=true", "--rotation-poll-interval="+interval.String())
	return errors.Join(err, p.Stop())
}

// cpuTime is what a process has used of the processors.
func cpuTime(pid int) (time.Duration, error) {
	const scheduled = 2 // the clock of the kernel that counts what was run
	var spent unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|scheduled), &spent); err != nil { //nolint:gosec // G115: as clock_getcpuclockid makes it
		return 0, fmt.Errorf("read the CPU time of process %d: %w", pid, err)
	}
	return time.Duration(spent.Nano()), nil
}
