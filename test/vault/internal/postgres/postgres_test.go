package postgres

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom/strongroom/test/internal/ground/folder"
	"github.com/strongroom/strongroom/test/internal/ground/process"
	"github.com/strongroom/strongroom/test/internal/ground/step"
)

// startable returns a server that was never started, in a folder that nobody
// but its owner can walk through.
func startable(t *testing.T) Server {
	t.Helper()
	bin, err := Need(t.Context(), step.New(os.Stderr))
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	run := folder.Folder(filepath.Join(t.TempDir(), "run"))
	if err := run.Create(); err != nil {
		t.Fatal(err)
	}
	s := Server{Run: run, Listen: l.Addr().String(), Bin: bin}
	t.Cleanup(func() { end(t, s) })
	return s
}

// deadline is far away: a machine may be busy.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func end(t *testing.T, s Server) {
	t.Helper()
	if err := process.End(deadline(t), string(s.Run), 10*time.Second); err != nil {
		t.Error(err)
	}
}

func login(t *testing.T, s Server, password string) error {
	t.Helper()
	config, err := pgconn.ParseConfig(strings.Replace(s.URL(), "{{username}}:{{password}}@", "", 1))
	if err != nil {
		t.Fatal(err)
	}
	config.User, config.Password = Admin, password
	c, err := pgconn.ConnectConfig(deadline(t), config)
	if err != nil {
		return err
	}
	return c.Close(t.Context())
}

func TestServer(t *testing.T) {
	s := startable(t)
	for _, when := range []string{"first", "running", "killed", "ended"} {
		if err := s.Start(deadline(t)); err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		password, err := s.Password()
		if err != nil {
			t.Fatal(err)
		}
		if err := login(t, s, password); err != nil {
			t.Errorf("%s: %v", when, err)
		}
		var refused *pgconn.PgError
		if err := login(t, s, password+"x"); !errors.As(err, &refused) || refused.Code != "28P01" {
			t.Errorf("%s, wrong password: %v", when, err)
		}
		switch when {
		case "running":
			kill(t, s)
		case "killed":
			end(t, s)
		}
	}
}

// kill ends the first process only, the hard way.
func kill(t *testing.T, s Server) {
	t.Helper()
	pids, err := process.Find(string(s.Run))
	if err != nil || len(pids) == 0 {
		t.Fatalf("processes %v: %v", pids, err)
	}
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for ctx := deadline(t); s.Running(); {
		if ctx.Err() != nil {
			t.Fatal("it does not die")
		}
	}
}

func TestHalfMade(t *testing.T) {
	s := startable(t)
	if err := os.MkdirAll(filepath.Join(s.data()+".part", "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(deadline(t)); err != nil {
		t.Error(err)
	}
}

func TestPortTaken(t *testing.T) {
	s := startable(t)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", s.Listen)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	err = s.Start(deadline(t))
	if err == nil || !strings.Contains(err.Error(), s.Listen) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("error %v, want one that says what is in use", err)
	}
}
