package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/strongroom/strongroom/test/internal/stand"
)

const (
	leasedPods   = 50
	leasedTime   = 3 * time.Minute
	loginEvery   = time.Second
	goneWithin   = 10 * time.Second
	leasesPolled = 200 * time.Millisecond
)

// leased are the figures of pods with accounts of a database.
type leased struct {
	logins                        int // reads of all pods' first accounts among them
	created, renewed, revoked     int
	tries, failures               int64
	left                          int
	gone                          time.Duration
	failedRenewals, failedRevokes int
}

// vaultLeases gives pods accounts of a real PostgreSQL that live for 20 seconds, 60 at
// most. Each pod reads its files and logs in all the time.
func (b *bench) vaultLeases(ctx context.Context, f *figures) error {
	if err := b.vaultClass(ctx, "database", "database/creds/bench"); err != nil {
		return err
	}
	volumes, err := b.podsFor(ctx, "vault", leasedPods, "database")
	if err != nil {
		return err
	}
	return b.withVault(ctx, func(d *stand.Driver, _ *stand.Store) error {
		l := &f.leased
		_, at, err := b.vault.audited(0)
		if err != nil {
			return err
		}
		if _, err = b.publishPods(ctx, d, volumes); err != nil {
			return err
		}
		if err = b.logIn(ctx, volumes, l); err != nil {
			return err
		}
		if _, err = b.unpublishThese(ctx, d, volumes, 16); err != nil {
			return err
		}
		if err = b.awaitNoLease(ctx, l); err != nil {
			return err
		}
		counts, _, err := b.vault.audited(at)
		if err != nil {
			return err
		}
		l.logins, l.created = counts["update auth/kubernetes/login"], counts["read database/creds/bench"]
		l.renewed, l.revoked = counts["update sys/leases/renew"], counts["update sys/leases/revoke"]
		l.failedRenewals, l.failedRevokes = counts["failed update sys/leases/renew"], counts["failed update sys/leases/revoke"]
		return nil
	})
}

// logIn has each pod log in to the database with what its files say, for three minutes.
func (b *bench) logIn(ctx context.Context, volumes []stand.Volume, l *leased) error {
	group, ctx := errgroup.WithContext(ctx)
	end := time.Now().Add(leasedTime)
	for _, v := range volumes {
		group.Go(func() error {
			for time.Now().Before(end) {
				atomic.AddInt64(&l.tries, 1)
				if err := b.logInOnce(ctx, v); err != nil {
					fmt.Fprintln(os.Stderr, "bench: pod", v.Pod, "cannot log in:", err)
					atomic.AddInt64(&l.failures, 1)
				}
				if err := sleep(ctx, loginEvery); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// logInOnce reads both files of one generation.
func (b *bench) logInOnce(ctx context.Context, v stand.Volume) error {
	generation, err := filepath.EvalSymlinks(filepath.Join(v.Target(), "..data"))
	if err != nil {
		return err
	}
	user, err := os.ReadFile(filepath.Join(generation, "username"))
	if err != nil {
		return err
	}
	password, err := os.ReadFile(filepath.Join(generation, "password"))
	if err != nil {
		return err
	}
	config, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%s dbname=%s sslmode=disable connect_timeout=10",
		b.vault.env["PGHOST"], b.vault.env["PGPORT"], b.vault.env["PGDATABASE"]))
	if err != nil {
		return err
	}
	config.User, config.Password = string(user), string(password)
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// awaitNoLease waits until Vault has no lease of the pods, which are gone.
func (b *bench) awaitNoLease(ctx context.Context, l *leased) error {
	begin := time.Now()
	for {
		left, err := b.vault.leases(ctx)
		if err != nil {
			return err
		}
		l.left, l.gone = left, time.Since(begin)
		if left == 0 || l.gone > goneWithin {
			return nil
		}
		if err := sleep(ctx, leasesPolled); err != nil {
			return err
		}
	}
}
