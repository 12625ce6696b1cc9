package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// options are the command line. What follows it are flags of the driver.
type options struct {
	root, driver, provider, profile string
	volumes, rounds, secrets        int
	only                            string
	less                            int
	flags                           []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	code, err := stand.Apart(ctx, func() int {
		if err := run(ctx, parse()); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
			return 1
		}
		return 0
	})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	os.Exit(code)
}

func parse() options {
	var o options
	flag.StringVar(&o.root, "root", ".", "root of the checkout")
	flag.StringVar(&o.driver, "driver", "bin/linux/driver", "the driver, below root")
	flag.StringVar(&o.provider, "provider", "bin/linux/fakeprovider", "the scripted provider, below root")
	flag.StringVar(&o.profile, "profile", "", "write CPU and heap profiles of the driver into this folder, and measure nothing")
	flag.IntVar(&o.volumes, "volumes", 300, "volumes of a round")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds, of which the one with the median rate counts")
	flag.IntVar(&o.secrets, "secrets", 3000, "Secrets of others, of 4 KiB each")
	flag.StringVar(&o.only, "only", "", "start, driver, vault or azure, to measure one of them; or scale, which is measured only then")
	flag.IntVar(&o.less, "less", 1, "of scale: divide the numbers of other nodes and of their objects by this")
	flag.Parse()
	o.flags = flag.Args()
	for _, path := range []*string{&o.driver, &o.provider} {
		if !filepath.IsAbs(*path) {
			*path = filepath.Join(o.root, *path)
		}
	}
	return o
}

func run(ctx context.Context, o options) (err error) {
	b, err := newBench(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.cluster.Stop()) }()
	if o.profile != "" {
		return b.profiles(ctx, o.profile)
	}
	if o.only == "scale" {
		return b.scale(ctx)
	}
	return b.measure(ctx)
}

// step is something that is measured.
type step struct {
	name string
	do   func(context.Context, *figures) error
}

// part is what -only chooses.
type part struct {
	name  string
	steps []step
	show  func() (string, error)
}

func (b *bench) parts(f *figures) []part {
	return []part{
		{"start", []step{{"starts of the driver", b.startUps}}, func() (string, error) { return f.startTable(b.root) }},
		{"driver", []step{
			{"what the API server can do alone", b.limit},
			{"memory", b.memory},
			{"one call in flight", b.one},
			{"16 calls in flight", b.sixteen},
			{"the queue of records", b.queue},
			{"refreshes", b.refreshes},
			{"a class with a Secret, one call in flight", b.syncedOne},
			{"a class with a Secret, 16 calls in flight", b.syncedSixteen},
			{"memory beside Secrets of others", b.memoryBeside},
		}, func() (string, error) { return f.table(b.options), nil }},
		{"vault", []step{
			{"a real Vault", b.openVault},
			{"pods of one service account that read one path", b.vaultShared},
			{"pods with accounts of a database, for three minutes", b.vaultLeases},
		}, func() (string, error) { return f.vaultTable(), nil }},
		{"azure", []step{
			{"pods of one service account that read ten secrets of an Azure Key Vault of tests", b.azureShared},
		}, func() (string, error) { return f.azureTable(), nil }},
	}
}

func (b *bench) measure(ctx context.Context) error {
	var f figures
	for _, p := range b.parts(&f) {
		if b.only != "" && b.only != p.name {
			continue
		}
		if err := f.take(ctx, p.steps); err != nil {
			return err
		}
		table, err := p.show()
		if err != nil {
			return err
		}
		fmt.Print(table)
	}
	return nil
}

func (f *figures) take(ctx context.Context, steps []step) error {
	for _, s := range steps {
		fmt.Fprintln(os.Stderr, "bench:", s.name)
		if err := s.do(ctx, f); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}
