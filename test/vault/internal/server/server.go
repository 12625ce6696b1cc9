package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/strongroom/strongroom/test/internal/ground/folder"
	"github.com/strongroom/strongroom/test/internal/ground/pki"
	"github.com/strongroom/strongroom/test/internal/ground/process"
	"github.com/strongroom/strongroom/test/vault/internal/postgres"
)

// Port is where Vault listens if nothing else is said.
const Port = "8200"

// Server is a Vault in a run folder.
type Server struct {
	Run    folder.Folder `json:"run"`
	Listen string        `json:"listen"` // host:port
	Binary string        `json:"binary"`
	// Plugins is the folder of the external plugins.
	Plugins string `json:"plugins"`
	// Postgres is the folder of PostgreSQL's programs.
	Postgres string `json:"postgres"`
}

// URL is the address of the server.
func (s Server) URL() string { return "https://" + s.Listen }

// CA is the file with the authority of the server's certificate.
func (s Server) CA() string { return s.Run.Path("ca.crt") }

// Keys is the file with the unseal key and the root token.
func (s Server) Keys() string { return s.Run.Path("keys.json") }

// Audit is the audit log.
func (s Server) Audit() string { return s.Run.Path("audit.log") }

// Env is the file that a shell sources.
func (s Server) Env() string { return s.Run.Path("env") }

// Database is the PostgreSQL beside the server, two ports above it.
func (s Server) Database() (postgres.Server, error) {
	host, port, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return postgres.Server{}, fmt.Errorf("listen address: %w", err)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return postgres.Server{}, fmt.Errorf("listen address: port: %w", err)
	}
	return postgres.Server{Run: s.Run, Listen: net.JoinHostPort(host, strconv.FormatUint(n+2, 10)), Bin: s.Postgres}, nil
}

func (s Server) config() string { return s.Run.Path("config.json") }

// Load reads how the server in a run folder was set up.
func Load(run folder.Folder) (Server, error) {
	var s Server
	b, err := os.ReadFile(run.Path("server.json"))
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal(b, &s)
}

// Write makes the run folder and everything that the server reads.
func (s Server) Write() error {
	if err := s.Run.Create(); err != nil {
		return err
	}
	if err := os.MkdirAll(s.Run.Path("data"), 0o700); err != nil {
		return err
	}
	if err := s.certificate(); err != nil {
		return err
	}
	if err := writeJSON(s.config(), s.settings()); err != nil {
		return err
	}
	return writeJSON(s.Run.Path("server.json"), s) // last: its presence says that all is there
}

func (s Server) certificate() error {
	host, _, err := net.SplitHostPort(s.Listen)
	if err != nil {
		return fmt.Errorf("listen address: %w", err)
	}
	ca, err := pki.NewAuthority("strongroom test vault")
	if err != nil {
		return err
	}
	p, err := ca.Issue(pki.Subject{Name: "vault", Hosts: []string{host, "vault", "localhost", "127.0.0.1"}})
	if err != nil {
		return err
	}
	for path, b := range map[string][]byte{
		s.CA():                ca.Cert,
		s.Run.Path("tls.crt"): p.Cert,
		s.Run.Path("tls.key"): p.Key,
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (s Server) settings() map[string]any {
	host, _, _ := net.SplitHostPort(s.Listen)
	cluster := net.JoinHostPort(host, "0") // any: there is one server only
	return map[string]any{
		"storage": map[string]any{"raft": map[string]any{
			"path": s.Run.Path("data"), "node_id": "vault", "performance_multiplier": "1", // elect itself at once
		}},
		"listener": map[string]any{"tcp": map[string]any{
			"address": s.Listen, "cluster_address": cluster,
			"tls_cert_file": s.Run.Path("tls.crt"), "tls_key_file": s.Run.Path("tls.key"),
		}},
		"api_addr":         s.URL(),
		"cluster_addr":     "https://" + cluster,
		"plugin_directory": s.Plugins,
		"disable_mlock":    true,
	}
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}

// Running says whether the server's process is there. A plugin outlives a
// server that was killed; it does not count.
func (s Server) Running() bool {
	pids, err := process.Find(string(s.Run))
	if err != nil {
		return false
	}
	for _, pid := range pids {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err == nil && strings.TrimSuffix(filepath.Base(exe), " (deleted)") == filepath.Base(s.Binary) {
			return true
		}
	}
	return false
}

// Start starts the server, sealed as it always is then.
func (s Server) Start(ctx context.Context) error {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), s.Binary, "server", "-config="+s.config())
	cmd.Dir = string(s.Run)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + string(s.Run), "SKIP_SETCAP=1"}
	if err := process.Detach(cmd, string(s.Run), s.Run.Path("vault.log")); err != nil {
		return err
	}
	return cmd.Process.Release()
}

// Stop ends the server and its plugins. PostgreSQL goes on.
func (s Server) Stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	kill := time.Now().Add(5 * time.Second)
	for sig := syscall.SIGTERM; ; {
		pids, err := s.processes()
		if err != nil {
			return fmt.Errorf("stop Vault: %w", err)
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if sig != 0 {
				_ = syscall.Kill(pid, sig) // one that is gone is not found again
			}
		}
		if sig = 0; time.Now().After(kill) {
			sig = syscall.SIGKILL
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stop Vault: processes %v are still there: %w", pids, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// processes are those of the server and its plugins.
func (s Server) processes() ([]int, error) {
	pids, err := process.Find(string(s.Run))
	return slices.DeleteFunc(pids, postgres.Is), err
}

// End ends everything that runs in the folder.
func (s Server) End(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return process.End(ctx, string(s.Run), 5*time.Second)
}

// Remove deletes everything, and the folder above it if only that one's mark
// is left in it.
func (s Server) Remove() error {
	if err := s.Run.Remove(); err != nil {
		return err
	}
	above := folder.Folder(filepath.Dir(string(s.Run)))
	entries, err := os.ReadDir(string(above))
	if errors.Is(err, os.ErrNotExist) || len(entries) != 1 {
		return nil
	}
	return above.Remove()
}
