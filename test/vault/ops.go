package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/strongroom/strongroom/test/vault/internal/api"
	"github.com/strongroom/strongroom/test/vault/internal/server"
	"github.com/strongroom/strongroom/test/vault/internal/setup"
)

var errDown = errors.New("no Vault is up")

// connect returns the server and a client with the root token.
func (t *tool) connect() (server.Server, *api.Client, setup.Keys, error) {
	var k setup.Keys
	s, err := server.Load(t.run)
	if err != nil {
		return s, nil, k, errDown
	}
	if k, err = setup.ReadKeys(s.Keys()); err != nil {
		return s, nil, k, errDown
	}
	c, err := api.New(s.URL(), s.CA())
	if err != nil {
		return s, nil, k, err
	}
	c.Token = k.Root
	return s, c, k, nil
}

func (t *tool) restart(ctx context.Context, _ []string) error {
	s, c, k, err := t.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return t.log.Do("restart Vault", func() error {
		if err := s.Stop(ctx); err != nil {
			return err
		}
		if err := s.Start(ctx); err != nil {
			return err
		}
		if err := c.Await(ctx, "there", func(api.Health) bool { return true }); err != nil {
			return err
		}
		return setup.Unseal(ctx, c, k)
	})
}

func (t *tool) seal(ctx context.Context, _ []string) error {
	_, c, _, err := t.connect()
	if err != nil {
		return err
	}
	return t.log.Do("seal Vault", func() error {
		h, err := c.Health(ctx)
		if err != nil || h.Sealed {
			return err
		}
		if err := c.Put(ctx, "sys/seal", nil, nil); err != nil {
			return err
		}
		return c.Await(ctx, "sealed", func(h api.Health) bool { return h.Sealed })
	})
}

func (t *tool) unseal(ctx context.Context, _ []string) error {
	_, c, k, err := t.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return t.log.Do("unseal Vault", func() error { return setup.Unseal(ctx, c, k) })
}

func (t *tool) status(ctx context.Context, _ []string) error {
	s, c, _, err := t.connect()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	h, err := c.Health(ctx)
	if err != nil {
		return fmt.Errorf("ask Vault for its state: %w", err)
	}
	db, err := s.Database()
	if err != nil {
		return err
	}
	fmt.Printf("address     %s\nCA          %s\nshell       . %s\naudit log   %s\nversion     %s\nsealed      %v\nPostgreSQL  %s\n",
		s.URL(), s.CA(), s.Env(), s.Audit(), h.Version, h.Sealed, db.Listen)
	if !db.Running() {
		return errors.New("PostgreSQL has stopped, see " + db.Log())
	}
	if h.Sealed {
		return errors.New("it is sealed")
	}
	return nil
}

func (t *tool) down(ctx context.Context, _ []string) error {
	return t.log.Do("bring Vault down", func() error { return t.remove(ctx) })
}

func (t *tool) remove(ctx context.Context) error {
	s := server.Server{Run: t.run}
	if err := s.End(ctx); err != nil {
		return err
	}
	return s.Remove()
}
