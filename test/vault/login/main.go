package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

func main() {
	dir := flag.String("dir", "/mnt/0", "folder of the volume, with the files username and password")
	every := flag.Duration("every", 200*time.Millisecond, "time between two logins")
	flag.Parse()
	if err := run(*dir, *every); err != nil {
		fmt.Fprintln(os.Stderr, "login:", err)
		os.Exit(1)
	}
}

func run(dir string, every time.Duration) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	l, err := newLoop(dir, os.Stdout)
	if err != nil {
		return err
	}
	return l.run(ctx, every)
}

// patience is for a machine that does much else: a refused login takes no time.
const patience = 30 * time.Second

// loop logs in and counts.
type loop struct {
	dir    string
	out    io.Writer
	config *pgconn.Config
	users  map[string]bool
	counts struct{ logins, failed int }
}

func newLoop(dir string, out io.Writer) (*loop, error) {
	config, err := pgconn.ParseConfig("")
	if err != nil {
		return nil, fmt.Errorf("where is PostgreSQL: %w", err)
	}
	return &loop{dir: dir, out: out, config: config, users: map[string]bool{}}, nil
}

// run goes on until ctx ends.
func (l *loop) run(ctx context.Context, every time.Duration) error {
	next, say := time.NewTicker(every), time.NewTicker(time.Second)
	defer next.Stop()
	defer say.Stop()
	for {
		l.try(ctx)
		select {
		case <-ctx.Done():
			l.say()
			if l.counts.failed > 0 {
				return fmt.Errorf("%d logins have failed", l.counts.failed)
			}
			return nil
		case <-say.C:
			l.say()
		case <-next.C:
		}
	}
}

func (l *loop) say() {
	fmt.Fprintf(l.out, "logins=%d failed=%d users=%d\n", l.counts.logins, l.counts.failed, len(l.users))
}

// try reads and logs in once. Being asked to stop is no failure.
func (l *loop) try(ctx context.Context) {
	c, err := read(l.dir)
	if err == nil {
		err = l.login(ctx, c)
	}
	switch {
	case ctx.Err() != nil:
	case err != nil:
		l.counts.failed++
		fmt.Fprintf(l.out, "%s failed: %v\n", time.Now().UTC().Format(time.RFC3339Nano), err)
	default:
		l.counts.logins++
		l.users[c.user] = true
	}
}

func (l *loop) login(ctx context.Context, c credential) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	config := l.config.Copy()
	config.User, config.Password = c.user, c.password
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "select 1").ReadAll()
	return errors.Join(err, conn.Close(ctx))
}
