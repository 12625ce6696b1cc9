package postgres

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/test/internal/ground/folder"
	"github.com/strongroom/strongroom/test/internal/ground/process"
)

// Admin is the superuser, who logs in with the password that Password returns.
const Admin = "postgres"

// Database is the only one there is.
const Database = "postgres"

// Program is the name of the server's executable. All its processes carry the
// mark of the run folder when they start.
const Program = "postgres"

// Server is a PostgreSQL in a run folder.
type Server struct {
	Run    folder.Folder
	Listen string // host:port
	Bin    string // folder of its programs
}

func (s Server) data() string { return s.Run.Path("postgres") }

func (s Server) secret() string { return s.Run.Path("postgres.password") }

// Log is the file that the server writes to.
func (s Server) Log() string { return s.Run.Path("postgres.log") }

// Password is the superuser's.
func (s Server) Password() (string, error) {
	b, err := os.ReadFile(s.secret())
	if err != nil {
		return "", fmt.Errorf("read the password of PostgreSQL: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// URL is the address of the database, for the user and password of a template
// of Vault.
func (s Server) URL() string {
	u := url.URL{Scheme: "postgresql", Host: s.Listen, Path: "/" + Database, RawQuery: "sslmode=disable"}
	return strings.Replace(u.String(), "://", "://{{username}}:{{password}}@", 1)
}

// Env is what a shell sources, so that psql and its like find the database.
func (s Server) Env() (string, error) {
	password, err := s.Password()
	if err != nil {
		return "", err
	}
	host, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return "", fmt.Errorf("address of PostgreSQL: %w", err)
	}
	return fmt.Sprintf("export PGHOST=%s\nexport PGPORT=%s\nexport PGUSER=%s\nexport PGPASSWORD=%s\nexport PGDATABASE=%s\nexport PGSSLMODE=disable\n",
		host, port, Admin, password, Database), nil
}

// Start makes the database, once, starts the server unless it runs, and waits
// until it answers.
func (s Server) Start(ctx context.Context) error {
	as, err := unprivileged()
	if err != nil {
		return err
	}
	if err := s.create(ctx, as); err != nil {
		return err
	}
	if !s.Running() {
		if err := s.launch(ctx, as); err != nil {
			return err
		}
	}
	return s.await(ctx)
}

// Running says whether the server's first process is there.
func (s Server) Running() bool {
	pids, err := process.Find(string(s.Run))
	return err == nil && slices.ContainsFunc(pids, Is)
}

// Is says whether a process is one of a PostgreSQL server.
func Is(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && strings.TrimSuffix(filepath.Base(exe), " (deleted)") == Program
}

// create makes the database beside its place and then moves it there: one whose
// making was cut short does not count.
func (s Server) create(ctx context.Context, as *account) error {
	if _, err := os.Stat(s.data()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	part := s.data() + ".part"
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("make the database: %w", err)
	}
	if err := os.Mkdir(part, 0o700); err != nil {
		return fmt.Errorf("make the database: %w", err)
	}
	if err := os.WriteFile(s.secret(), []byte(rand.Text()+"\n"), 0o600); err != nil {
		return fmt.Errorf("make the database: %w", err)
	}
	for _, path := range []string{part, s.secret()} {
		if err := as.own(path); err != nil {
			return fmt.Errorf("make the database: %w", err)
		}
	}
	// md5 costs little, and a suite logs in hundreds of times a second.
	cmd := exec.CommandContext(ctx, filepath.Join(s.Bin, "initdb"), "--pgdata="+part, "--username="+Admin,
		"--pwfile="+s.secret(), "--auth=md5", "--no-locale", "--encoding=UTF8", "--no-sync", "--no-instructions")
	cmd.Dir = "/"
	cmd.SysProcAttr = as.attributes()
	switch out, err := cmd.CombinedOutput(); {
	case ctx.Err() != nil:
		return fmt.Errorf("make the database: %w", ctx.Err())
	case err != nil:
		return fmt.Errorf("make the database: initdb: %w: %s", err, bytes.TrimSpace(out))
	}
	if err := os.WriteFile(filepath.Join(part, "pg_hba.conf"), []byte("host all all all md5\n"), 0o600); err != nil {
		return fmt.Errorf("make the database: %w", err)
	}
	return os.Rename(part, s.data())
}

func (s Server) launch(ctx context.Context, as *account) error {
	host, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return fmt.Errorf("address of PostgreSQL: %w", err)
	}
	args := []string{"-D", s.data()}
	for _, setting := range []string{
		"listen_addresses=" + host, "port=" + port, "unix_socket_directories=", "max_connections=300",
		"password_encryption=md5", "fsync=off", "synchronous_commit=off", "full_page_writes=off",
		"dynamic_shared_memory_type=mmap", "autovacuum=off", "log_line_prefix=%m ",
	} {
		args = append(args, "-c", setting)
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(s.Bin, Program), args...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.SysProcAttr = as.attributes()
	cmd.SysProcAttr.Cloneflags = as.flags()
	if err := process.Detach(cmd, string(s.Run), s.Log()); err != nil {
		return err
	}
	return cmd.Process.Release()
}

func (s Server) await(ctx context.Context) error {
	host, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return fmt.Errorf("address of PostgreSQL: %w", err)
	}
	for {
		out, err := exec.CommandContext(ctx, filepath.Join(s.Bin, "pg_isready"), "--host="+host, "--port="+port).CombinedOutput()
		switch {
		case err == nil:
			return nil
		case !s.Running():
			return fmt.Errorf("start PostgreSQL at %s: it stopped: %s", s.Listen, s.last())
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL: %w: %s", ctx.Err(), bytes.TrimSpace(out))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// last returns the end of the log.
func (s Server) last() string {
	b, err := os.ReadFile(s.Log())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-6):], "; ")
}
