//go:build node

// This test brings a node and a Vault up, so it wants root and a minute:
//
//	go test -tags=node ./vault
package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/strongroom/strongroom/test/internal/ground/folder"
	"github.com/strongroom/strongroom/test/internal/ground/process"
	"github.com/strongroom/strongroom/test/internal/plan"
	"github.com/strongroom/strongroom/test/vault/internal/api"
	"github.com/strongroom/strongroom/test/vault/internal/server"
	"github.com/strongroom/strongroom/test/vault/internal/setup"
)

// runFolder is always the same: a test that was killed is cleaned up after by
// the next one.
const runFolder folder.Folder = "/var/tmp/strongroom/test-vault"

// ground is a cluster and a Vault of the test's own.
type ground struct {
	*testing.T
	dir string
	run folder.Folder
}

func newGround(t *testing.T) *ground {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test wants root")
	}
	dir := t.TempDir()
	g := &ground{T: t, dir: dir, run: runFolder}
	for _, tool := range []string{"cluster", "vault"} {
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, tool), "../"+tool).CombinedOutput()
		if err != nil {
			t.Fatalf("build %s: %v\n%s", tool, err, out)
		}
	}
	t.Setenv("STRONGROOM_RUN", string(g.run))
	t.Setenv("KUBECONFIG", "")
	t.Setenv("VAULT_LISTEN", "")
	g.must("cluster", "down")
	t.Cleanup(func() { _ = g.command("cluster", "down").Run() })
	g.must("cluster", "up", "--network=10.204.0.0/16")
	return g
}

func (g *ground) command(tool string, args ...string) *exec.Cmd {
	return exec.CommandContext(context.WithoutCancel(g.Context()), filepath.Join(g.dir, tool), args...) // also for clean-up
}

func (g *ground) must(tool string, args ...string) {
	g.Helper()
	if out, err := g.command(tool, args...).CombinedOutput(); err != nil {
		g.Fatalf("%s %s: %v\n%s", tool, args[0], err, out)
	}
}

// open returns a client with the root token.
func (g *ground) open() *api.Client {
	g.Helper()
	s, err := server.Load(folder.Folder(g.run.Path("vault")))
	if err != nil {
		g.Fatal(err)
	}
	k, err := setup.ReadKeys(s.Keys())
	if err != nil {
		g.Fatal(err)
	}
	c, err := api.New(s.URL(), s.CA())
	if err != nil {
		g.Fatal(err)
	}
	c.Token = k.Root
	return c
}

func (g *ground) put(path string, in any) {
	g.Helper()
	if err := g.open().Put(g.Context(), path, in, nil); err != nil {
		g.Fatal(err)
	}
}

// keeps checks that what was written before is still there.
func (g *ground) keeps(after string) {
	g.Helper()
	var got struct {
		Data struct{ Data map[string]string }
	}
	if err := g.open().Get(g.Context(), "secret/data/db", &got); err != nil {
		g.Fatal(err)
	}
	if got.Data.Data["pw"] != "hello" {
		g.Errorf("after %s: %v", after, got)
	}
}

func TestLife(t *testing.T) {
	g := newGround(t)
	g.must("vault", "up")
	g.put("secret/data/db", map[string]any{"data": map[string]string{"pw": "hello"}})
	g.put("kv/db", map[string]string{"pw": "hello"})
	g.login()
	g.engines()
	user := g.credentials()
	g.must("vault", "up")
	g.keeps("a second up")
	g.must("vault", "seal")
	if err := g.command("vault", "status").Run(); err == nil {
		t.Error("status calls a sealed Vault healthy")
	}
	g.must("vault", "unseal")
	g.keeps("unseal")
	g.must("vault", "restart")
	g.keeps("restart")
	g.sameDatabase(user)
	g.kill("vault")
	g.must("vault", "up")
	g.must("vault", "status")
	g.keeps("kill")
	g.login()
	g.kill("postgres")
	if err := g.command("vault", "status").Run(); err == nil {
		t.Error("status does not miss PostgreSQL")
	}
	g.must("vault", "up")
	g.sameDatabase(user)
	g.credentials()
	g.must("vault", "down")
	g.gone()
	g.must("vault", "up")
	g.must("cluster", "down") // takes Vault with it
	g.gone()
}

// login logs in with a real token of a service account, in two ways.
func (g *ground) login() {
	g.Helper()
	g.put("auth/kubernetes/role/app", map[string]string{
		"bound_service_account_names": "default", "bound_service_account_namespaces": "default", "audience": "vault",
	})
	g.put("auth/jwt/role/app", map[string]string{
		"role_type": "jwt", "bound_audiences": "vault", "user_claim": "sub",
		"bound_subject": "system:serviceaccount:default:default",
	})
	c, err := plan.Load(g.run)
	if err != nil {
		g.Fatal(err)
	}
	token, err := exec.CommandContext(g.Context(), filepath.Join(c.Bin, "kubectl"), "--kubeconfig="+c.Kubeconfig(),
		"--cache-dir="+g.run.Path("kubectl"), "create", "token", "default", "--audience=vault").Output()
	if err != nil {
		g.Fatalf("create a token: %v", err)
	}
	for _, method := range []string{"kubernetes", "jwt"} {
		g.put("auth/"+method+"/login", map[string]string{"role": "app", "jwt": strings.TrimSpace(string(token))})
	}
}

// engines uses what needs no role of its own elsewhere.
func (g *ground) engines() {
	g.Helper()
	g.put("auth/approle/role/app", map[string]string{"bind_secret_id": "true"})
	g.put("auth/cert/config", map[string]bool{"disable_binding": false})
	g.put("transit/encrypt/app", map[string]string{"plaintext": "aGVsbG8="})
	g.put("pki/roles/app", map[string]any{"allow_any_name": true, "ttl": "1m"})
	g.put("pki/issue/app", map[string]string{"common_name": "app.example.test"})
}

// credentials are new ones for PostgreSQL, which log in. It returns the user.
func (g *ground) credentials() string {
	g.Helper()
	g.put("database/roles/app", map[string]any{
		"db_name": "postgres", "default_ttl": "1h",
		"creation_statements": `CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`,
	})
	var got struct {
		Data struct{ Username, Password string }
	}
	if err := g.open().Get(g.Context(), "database/creds/app", &got); err != nil {
		g.Fatal(err)
	}
	config := g.database()
	config.User, config.Password = got.Data.Username, got.Data.Password
	if names := g.query(config, "select current_user"); names != got.Data.Username {
		g.Errorf("logged in as %q, want %q", names, got.Data.Username)
	}
	return got.Data.Username
}

// sameDatabase checks that a user is still there.
func (g *ground) sameDatabase(user string) {
	g.Helper()
	if got := g.query(g.database(), "select usename from pg_user where usename = '"+user+"'"); got != user {
		g.Errorf("the user %s is %q now", user, got)
	}
}

// database is how the superuser logs in, as the env file tells a shell.
func (g *ground) database() *pgconn.Config {
	g.Helper()
	out, err := exec.CommandContext(g.Context(), "sh", "-c",
		". "+g.run.Path("vault", "env")+`; echo "host=$PGHOST port=$PGPORT user=$PGUSER password=$PGPASSWORD dbname=$PGDATABASE sslmode=$PGSSLMODE"`).Output()
	if err != nil {
		g.Fatal(err)
	}
	config, err := pgconn.ParseConfig(strings.TrimSpace(string(out)))
	if err != nil {
		g.Fatal(err)
	}
	return config
}

// query returns the first field of the first row.
func (g *ground) query(config *pgconn.Config, text string) string {
	g.Helper()
	c, err := pgconn.ConnectConfig(g.Context(), config)
	if err != nil {
		g.Fatal(err)
	}
	defer func() { _ = c.Close(g.Context()) }()
	results, err := c.Exec(g.Context(), text).ReadAll()
	if err != nil {
		g.Fatal(err)
	}
	if len(results) == 0 || len(results[0].Rows) == 0 {
		return ""
	}
	return string(results[0].Rows[0][0])
}

// kill kills a program of Vault, but not those it has started.
func (g *ground) kill(program string) {
	g.Helper()
	pids, err := process.Find(g.run.Path("vault"))
	if err != nil || len(pids) < 3 {
		g.Fatalf("processes of Vault: %v, %v, want Vault, a plugin and PostgreSQL", pids, err)
	}
	for _, pid := range pids {
		exe, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
		if err == nil && filepath.Base(exe) == program {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				g.Fatal(err)
			}
		}
	}
}

func (g *ground) gone() {
	g.Helper()
	if pids, err := process.Find(g.run.Path("vault")); err != nil || len(pids) > 0 {
		g.Errorf("processes left: %v, %v", pids, err)
	}
	if _, err := os.Stat(g.run.Path("vault")); err == nil {
		g.Error("the folder is left")
	}
}
