package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/test/internal/ground/folder"
	"github.com/strongroom/strongroom/test/internal/ground/process"
	"github.com/strongroom/strongroom/test/internal/ground/step"
	"github.com/strongroom/strongroom/test/vault/internal/postgres"
)

// start returns the password of a PostgreSQL that the environment points to.
func start(t *testing.T) string {
	t.Helper()
	bin, err := postgres.Need(t.Context(), step.New(os.Stderr))
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	run := folder.Folder(filepath.Join(t.TempDir(), "run"))
	if err = run.Create(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	t.Cleanup(func() {
		defer cancel()
		if left := process.End(ctx, string(run), 10*time.Second); left != nil {
			t.Error(left)
		}
	})
	s := postgres.Server{Run: run, Listen: net.JoinHostPort(host, port), Bin: bin}
	if err = s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"PGHOST": host, "PGPORT": port, "PGDATABASE": postgres.Database, "PGSSLMODE": "disable"} {
		t.Setenv(name, value)
	}
	password, err := s.Password()
	if err != nil {
		t.Fatal(err)
	}
	return password
}

// write makes a volume's next generation and removes all others.
func write(t *testing.T, dir, generation, password string) {
	t.Helper()
	next := filepath.Join(dir, generation)
	if err := os.Mkdir(next, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"username": postgres.Admin, "password": password} {
		if err := os.WriteFile(filepath.Join(next, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old, _ := os.Readlink(filepath.Join(dir, "..data"))
	if err := os.Symlink(generation, next+".link"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next+".link", filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if old == "" {
		return
	}
	if err := os.RemoveAll(filepath.Join(dir, old)); err != nil {
		t.Fatal(err)
	}
}

func TestFailureCounts(t *testing.T) {
	password, dir := start(t), t.TempDir()
	write(t, dir, "..1", password)
	var out bytes.Buffer
	l, err := newLoop(dir, &out)
	if err != nil {
		t.Fatal(err)
	}
	l.try(t.Context())
	write(t, dir, "..2", "wrong")
	l.try(t.Context())
	write(t, dir, "..3", password)
	ctx, cancel := context.WithCancel(t.Context()) // as a signal does; a deadline would be the logins' own
	defer cancel()
	time.AfterFunc(10*time.Millisecond, cancel)
	if err := l.run(ctx, time.Millisecond); err == nil {
		t.Error("the failure is forgotten")
	}
	if l.counts.failed != 1 || l.counts.logins < 1 || len(l.users) != 1 {
		t.Errorf("counts %+v, users %v", l.counts, l.users)
	}
	if s := out.String(); strings.Count(s, " failed: ") != 1 || !strings.Contains(s, "password authentication failed") {
		t.Errorf("output %s", s)
	}
}

// A volume whose content changes all the time gives a whole credential each time.
func TestReadWhileChanging(t *testing.T) {
	dir, over, done := t.TempDir(), make(chan struct{}), make(chan struct{})
	write(t, dir, "..0", "0")
	go func() {
		defer close(done)
		for {
			c, err := read(dir)
			if err != nil || c.user != postgres.Admin {
				t.Errorf("read %+v: %v", c, err)
			}
			select {
			case <-over:
				return
			default:
			}
		}
	}()
	for n := range 300 {
		write(t, dir, fmt.Sprintf("..%d", n+1), "x")
	}
	close(over)
	<-done
}
