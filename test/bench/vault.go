package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// vaultAddr is where Vault listens; a PostgreSQL is beside it.
const vaultAddr = "127.0.0.1:8200"

// vaultServer is a real Vault, and the PostgreSQL that it makes accounts in.
type vaultServer struct {
	dir string
	env map[string]string
}

// startVault brings up what test/vault does, for the cluster of the bench.
func (b *bench) startVault(ctx context.Context) (*vaultServer, error) {
	v := &vaultServer{dir: filepath.Join(stand.Memory, "run"), env: map[string]string{}}
	cmd := exec.CommandContext(ctx, filepath.Join(b.root, "bin/ground/vault"), "up", "--listen", vaultAddr)
	cmd.Env = append(os.Environ(), "STRONGROOM_RUN="+v.dir, "KUBECONFIG="+filepath.Join(b.node.Dir, "kubeconfig"))
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("bring Vault up: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(v.dir, "vault/env"))
	if err != nil {
		return nil, fmt.Errorf("find out where Vault is: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "export "), "=")
		v.env[name] = value
	}
	return v, nil
}

func (b *bench) openVault(ctx context.Context, _ *figures) (err error) {
	if b.vault, err = b.startVault(ctx); err != nil {
		return err
	}
	return b.vault.furnish(ctx)
}

// do runs Vault's command line as its administrator.
func (v *vaultServer) do(ctx context.Context, input string, args ...string) (string, error) {
	bin, err := stand.Binary("vault")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, bin, args...)
	for name, value := range v.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdin = strings.NewReader(input)
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("vault %s: %w: %s", strings.Join(args, " "), err, complaint.String())
	}
	return string(out), nil
}

// furnish makes what the classes of the bench read, and who may.
func (v *vaultServer) furnish(ctx context.Context) error {
	const policy = `
path "secret/data/bench" { capabilities = ["read"] }
path "database/creds/bench" { capabilities = ["read"] }
path "sys/leases/revoke" { capabilities = ["update"] }
`
	for _, step := range []struct {
		input string
		args  []string
	}{
		{"", []string{"kv", "put", "secret/bench", "username=app", "password=" + strings.Repeat("p", 24)}},
		{policy, []string{"policy", "write", "bench", "-"}},
		{"", []string{
			"write", "auth/kubernetes/role/bench", "bound_service_account_names=default", "bound_service_account_namespaces=" + namespace,
			"audience=vault", "policies=bench", "ttl=20m",
		}},
		{"", []string{
			"write", "database/roles/bench", "db_name=postgres", "default_ttl=20s", "max_ttl=60s",
			`creation_statements=CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'`,
		}},
	} {
		if _, err := v.do(ctx, step.input, step.args...); err != nil {
			return err
		}
	}
	return nil
}

// audited counts what Vault has answered since a place in its audit log, by operation
// and path; failures have "failed" before.
func (v *vaultServer) audited(from int64) (counts map[string]int, to int64, err error) {
	f, err := os.Open(filepath.Join(v.dir, "vault/audit.log"))
	if err != nil {
		return nil, 0, fmt.Errorf("read Vault's audit log: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	if _, err = f.Seek(from, io.SeekStart); err != nil {
		return nil, 0, err
	}
	counts, to = map[string]int{}, from
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return counts, to, nil
		}
		if err != nil {
			return nil, 0, err
		}
		to += int64(len(line))
		var entry struct {
			Type    string `json:"type"`
			Error   string `json:"error"`
			Request struct {
				Operation string `json:"operation"`
				Path      string `json:"path"`
			} `json:"request"`
		}
		if err := json.Unmarshal(line, &entry); err != nil {
			return nil, 0, fmt.Errorf("parse Vault's audit log: %w", err)
		}
		if entry.Type != "response" {
			continue
		}
		name := entry.Request.Operation + " " + entry.Request.Path
		if entry.Error != "" {
			name = "failed " + name
		}
		counts[name]++
	}
}

// leases counts those of the database engine.
func (v *vaultServer) leases(ctx context.Context) (int, error) {
	text, err := v.do(ctx, "", "list", "-format=json", "sys/leases/lookup/database/creds/bench")
	if err != nil && !strings.Contains(err.Error(), "exit status 2") { // nothing to list
		return 0, err
	}
	var list []string
	if text != "" && err == nil {
		err = json.Unmarshal([]byte(text), &list)
		return len(list), err
	}
	return 0, nil
}

// podsFor returns the volumes of as many pods with tokens of their service account.
func (b *bench) podsFor(ctx context.Context, audience string, n int, class string) ([]stand.Volume, error) {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "default"}}
	if err := b.cluster.API.Create(ctx, account.DeepCopy()); client.IgnoreAlreadyExists(err) != nil {
		return nil, fmt.Errorf("make a service account: %w", err) // no controller does
	}
	volumes := make([]stand.Volume, n)
	_, err := measure(ctx, n, 16, func(ctx context.Context, i int) error {
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{audience}}}
		if err := b.cluster.API.SubResource("token").Create(ctx, account.DeepCopy(), request); err != nil {
			return fmt.Errorf("make a token: %w", err)
		}
		volumes[i] = stand.Volume{
			Node: b.node, Namespace: namespace, Pod: fmt.Sprintf("%s-%d", class, i), Class: class, Token: request.Status.Token, Audience: audience,
		}
		return volumes[i].Prepare()
	})
	return volumes, err
}

// vaultClass makes a class of the Vault provider that is refreshed every ten seconds.
func (b *bench) vaultClass(ctx context.Context, name, path string) error {
	return b.cluster.StoreClass(ctx, client.ObjectKey{Namespace: namespace, Name: name}, "vault", map[string]string{
		"roleName": "bench",
		"objects": "- {objectName: username, secretPath: " + path + ", secretKey: username}\n" +
			"- {objectName: password, secretPath: " + path + ", secretKey: password}\n",
	})
}

// withVault starts the real provider and a driver for as long as do runs.
func (b *bench) withVault(ctx context.Context, do func(*stand.Driver, *stand.Store) error) error {
	p, err := b.node.StartStore(ctx, "vault", filepath.Join(b.root, "bin/linux/provider-vault"), "--health-addr=",
		"--hmac-secret-name=", "--vault-addr="+b.vault.env["VAULT_ADDR"], "--vault-tls-ca-cert="+b.vault.env["VAULT_CACERT"])
	if err != nil {
		return err
	}
	err = b.with(ctx, func(d *stand.Driver) error { return do(d, p) }, "--enable-secret-rotation=true", "--rotation-poll-interval="+vaultInterval.String())
	return errors.Join(err, p.Stop())
}

const (
	vaultInterval  = 10 * time.Second
	vaultIntervals = 3
	vaultPods      = 100
	manyVaultPods  = 500
)

// shared are the figures of pods of one service account that read one path.
type shared struct {
	publish              sample
	logins, reads        int // cold
	loginsLater          int
	readsLater           int
	idle, hundred, large int // KiB of the provider
}

// vaultShared publishes pods of one service account, waits for some intervals, and
// publishes many more to see the memory of the provider.
func (b *bench) vaultShared(ctx context.Context, f *figures) error {
	if err := b.vaultClass(ctx, "kv", "secret/data/bench"); err != nil {
		return err
	}
	volumes, err := b.podsFor(ctx, "vault", manyVaultPods, "kv")
	if err != nil {
		return err
	}
	return b.withVault(ctx, func(d *stand.Driver, p *stand.Store) (err error) {
		s := &f.shared
		if s.idle, err = p.RSS(); err != nil {
			return err
		}
		if err = b.coldAndWarm(ctx, d, volumes[:vaultPods], s); err != nil {
			return err
		}
		if s.hundred, err = p.RSS(); err != nil {
			return err
		}
		if _, err = b.publishPods(ctx, d, volumes[vaultPods:]); err != nil {
			return err
		}
		if err = sleep(ctx, vaultInterval); err != nil {
			return err
		}
		if s.large, err = p.RSS(); err != nil {
			return err
		}
		_, err = b.unpublishThese(ctx, d, volumes, 16)
		return err
	})
}

// coldAndWarm publishes, lets the intervals pass, and counts what Vault had to do for each.
func (b *bench) coldAndWarm(ctx context.Context, d *stand.Driver, volumes []stand.Volume, s *shared) error {
	_, at, err := b.vault.audited(0)
	if err != nil {
		return err
	}
	if s.publish, err = b.publishPods(ctx, d, volumes); err != nil {
		return err
	}
	counts, at, err := b.vault.audited(at)
	if err != nil {
		return err
	}
	s.logins, s.reads = counts["update auth/kubernetes/login"], counts["read secret/data/bench"]
	if err = sleep(ctx, vaultIntervals*vaultInterval+vaultInterval/2); err != nil {
		return err
	}
	if counts, _, err = b.vault.audited(at); err != nil {
		return err
	}
	s.loginsLater, s.readsLater = counts["update auth/kubernetes/login"], counts["read secret/data/bench"]
	return nil
}

func (b *bench) publishPods(ctx context.Context, d *stand.Driver, volumes []stand.Volume) (sample, error) {
	s, err := measure(ctx, len(volumes), 16, func(ctx context.Context, i int) error { return d.Publish(ctx, volumes[i]) })
	if err != nil {
		return s, fmt.Errorf("publish: %w", err)
	}
	return s, nil
}

// sleep lets time pass, which is what is measured.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
