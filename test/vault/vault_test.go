//go:build node

// This test brings a node and a Vault up, so it wants root and a minute:
//
//	go test -tags=node ./vault
package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

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
	g.kill()
	g.must("vault", "up")
	g.must("vault", "status")
	g.keeps("kill")
	g.login()
	g.must("vault", "down")
	g.gone()
	g.must("vault", "up")
	g.must("cluster", "down") // takes Vault with it
	g.gone()
}

// login logs in with a real token of a service account.
func (g *ground) login() {
	g.Helper()
	g.put("auth/kubernetes/role/app", map[string]string{
		"bound_service_account_names": "default", "bound_service_account_namespaces": "default", "audience": "vault",
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
	g.put("auth/kubernetes/login", map[string]string{"role": "app", "jwt": strings.TrimSpace(string(token))})
}

// kill kills the server, but not its plugin.
func (g *ground) kill() {
	g.Helper()
	pids, err := process.Find(g.run.Path("vault"))
	if err != nil || len(pids) < 2 {
		g.Fatalf("processes of Vault: %v, %v, want the server and its plugin", pids, err)
	}
	for _, pid := range pids {
		exe, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
		if err == nil && filepath.Base(exe) == "vault" {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
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
