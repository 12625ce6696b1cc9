package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/strongroom/strongroom/test/internal/ground/folder"
	"github.com/strongroom/strongroom/test/internal/ground/step"
	"github.com/strongroom/strongroom/test/internal/plan"
	"github.com/strongroom/strongroom/test/vault/internal/api"
	"github.com/strongroom/strongroom/test/vault/internal/postgres"
	"github.com/strongroom/strongroom/test/vault/internal/reviewer"
	"github.com/strongroom/strongroom/test/vault/internal/server"
	"github.com/strongroom/strongroom/test/vault/internal/setup"
)

// patience is how long Vault may take to be ready for use. It takes seconds.
const patience = 2 * time.Minute

// tool is what every command works with.
type tool struct {
	log     *step.Log
	cluster folder.Folder
	run     folder.Folder
}

func (t *tool) up(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	listen := flags.String("listen", os.Getenv("VAULT_LISTEN"), "HOST[:PORT] of this machine that pods reach")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return errUsage
	}
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	s, kube, err := t.choose(ctx, *listen)
	if err != nil {
		return err
	}
	fresh := !t.run.Exists()
	err = t.attempt(ctx, s, kube)
	switch {
	case err == nil:
		t.log.Say("up at %s: . %s", s.URL(), s.Env())
		return nil
	case ctx.Err() != nil && fresh: // interrupted: nothing is to be left
		return errors.Join(err, t.remove(context.WithoutCancel(ctx)))
	default:
		return fmt.Errorf("%w (see %s)", err, t.run.Path("vault.log"))
	}
}

// attempt brings Vault up, a second time if the first shows that an earlier
// run was killed between two steps.
func (t *tool) attempt(ctx context.Context, s server.Server, kube reviewer.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := t.bring(ctx, s, kube)
	if !errors.Is(err, setup.ErrLost) {
		return err
	}
	t.log.Say("the keys of an earlier Vault are lost, start over")
	if err = t.remove(ctx); err != nil {
		return err
	}
	return t.bring(ctx, s, kube)
}

// choose says where Vault shall listen and which cluster it shall ask.
func (t *tool) choose(ctx context.Context, listen string) (server.Server, reviewer.Cluster, error) {
	var s server.Server
	kube := reviewer.Cluster{Kubeconfig: os.Getenv("KUBECONFIG"), Cache: t.run.Path("kubectl")}
	c, err := plan.Load(t.cluster)
	up := err == nil
	switch {
	case kube.Kubeconfig == "" && !up:
		return s, kube, errors.New("there is no cluster: bring one up with test/cluster, or set KUBECONFIG")
	case kube.Kubeconfig == "":
		kube.Kubeconfig = c.Kubeconfig()
	}
	if listen == "" && up && kube.Kubeconfig == c.Kubeconfig() {
		listen = c.Host().String()
	}
	if listen == "" {
		return s, kube, errors.New("set --listen or VAULT_LISTEN to an address of this machine that pods of your cluster reach")
	}
	if _, _, err = net.SplitHostPort(listen); err != nil {
		listen = net.JoinHostPort(listen, server.Port)
	}
	cache, err := t.binaries(ctx)
	if err != nil {
		return s, kube, err
	}
	bin, err := filepath.EvalSymlinks(filepath.Dir(cache.Bin("vault"))) // Vault wants no links in the way to plugins
	if err != nil {
		return s, kube, err
	}
	if kube.Kubectl, err = kubectl(cache); err != nil {
		return s, kube, err
	}
	s = server.Server{Run: t.run, Listen: listen, Binary: cache.Bin("vault"), Plugins: bin}
	s.Postgres, err = postgres.Need(ctx, t.log)
	return s, kube, err
}

func (t *tool) bring(ctx context.Context, s server.Server, kube reviewer.Cluster) error {
	if err := t.start(ctx, s); err != nil {
		return err
	}
	c, err := api.New(s.URL(), s.CA())
	if err != nil {
		return err
	}
	db, err := s.Database()
	if err != nil {
		return err
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"start PostgreSQL", func() error { return db.Start(ctx) }},
		{"start Vault", func() error { return await(ctx, c, s) }},
		{"initialise and unseal", func() error { return t.open(ctx, c, s) }},
		{"set up audit log and engines", func() error {
			return errors.Join(setup.Audit(ctx, c, s.Audit()), setup.Engines(ctx, c))
		}},
		{"set up the database engine", func() error { return connectDatabase(ctx, c, s) }},
		{"set up auth methods", func() error {
			a, err := kube.Access(ctx)
			if err != nil {
				return err
			}
			return errors.Join(setup.Kubernetes(ctx, c, s.Plugins, a), setup.Auth(ctx, c, a))
		}},
	} {
		if err := t.log.Do(step.name, step.do); err != nil {
			return err
		}
	}
	return nil
}

// start starts the server unless it runs. One that was never completely
// written is written again.
func (t *tool) start(ctx context.Context, s server.Server) error {
	have, err := server.Load(s.Run)
	switch {
	case err == nil && have.Listen != s.Listen:
		return fmt.Errorf("there is a Vault for %s already, bring it down first", have.Listen)
	case err == nil && have.Running():
		return nil
	case err != nil:
		if err := t.cluster.Create(); err != nil {
			return err
		}
		if err := s.Write(); err != nil {
			return err
		}
	}
	if err := s.Stop(ctx); err != nil { // plugins of a server that was killed
		return err
	}
	return s.Start(ctx)
}

// await waits for the server, and starts it again if it has ended: while one that was
// killed is dying, it counts as running, and its address is taken.
func await(ctx context.Context, c *api.Client, s server.Server) error {
	const while = 5 * time.Second
	for {
		short, cancel := context.WithTimeout(ctx, while)
		err := c.Await(short, "there", func(api.Health) bool { return true })
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if !s.Running() {
			if err := s.Start(ctx); err != nil {
				return err
			}
		}
	}
}

func (t *tool) open(ctx context.Context, c *api.Client, s server.Server) error {
	k, err := setup.Init(ctx, c, s.Keys())
	if err != nil {
		return err
	}
	if err = setup.Unseal(ctx, c, k); err != nil {
		return err
	}
	c.Token = k.Root
	db, err := s.Database()
	if err != nil {
		return err
	}
	text, err := db.Env()
	if err != nil {
		return err
	}
	text = fmt.Sprintf("export VAULT_ADDR=%s\nexport VAULT_CACERT=%s\nexport VAULT_TOKEN=%s\n", s.URL(), s.CA(), k.Root) + text
	return os.WriteFile(s.Env(), []byte(text), 0o600)
}

// connectDatabase lets Vault make users in PostgreSQL.
func connectDatabase(ctx context.Context, c *api.Client, s server.Server) error {
	db, err := s.Database()
	if err != nil {
		return err
	}
	password, err := db.Password()
	if err != nil {
		return err
	}
	return setup.Database(ctx, c, setup.Connection{
		Plugins: s.Plugins, URL: db.URL(), User: postgres.Admin, Password: password,
	})
}
