//go:build attack

package attack

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// TestEveryCallOfAnOutage kills the driver at the entry and at the exit of system calls
// while the API server is gone. The next driver starts without it, serves what is mounted
// and unmounts; what was not written is when the API server is back, and nobody calls.
func TestEveryCallOfAnOutage(t *testing.T) {
	t.Parallel()
	g, err := the()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []window{
		{"record without API server", unpublished, mountAndLose, oneOfBoth, outlasted, mounting(), 10},
		{"Secret without API server", syncing, mountAndLose, oneOfBoth, outlasted, mounting(), 10},
		{"unpublish without API server", lost, unpublishUnheard, unmounted, removed, nil, 0},
	} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			w.attack(t, gatedLane(t, g))
		})
	}
}

// gatedLane is a lane whose driver can lose the API server.
func gatedLane(t *testing.T, g *ground) *lane {
	t.Helper()
	server, err := url.Parse(g.cluster.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	gate, err := stand.OpenGate(t.Context(), server.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gate.Close() })
	return newLane(t, g, way{flags: rotating(), gate: gate})
}

// mountAndLose publishes, and meanwhile the API server goes: the volume is mounted, and
// what is to be written after that is tried in vain.
func mountAndLose(ctx context.Context, l *lane, v stand.Volume) error {
	before, err := l.provider.Calls(ctx)
	if err != nil {
		return err
	}
	if _, err = l.provider.Tell(ctx, http.MethodPut, "/delay?for=300ms"); err != nil {
		return err
	}
	answer := make(chan error, 1)
	go func() { answer <- l.driver.Publish(ctx, v) }()
	if err = l.until(ctx, func(ctx context.Context) error { return l.calledSince(ctx, before) }); err != nil {
		return err
	}
	l.gate.Shut()
	refused := -1
	return l.until(ctx, func(context.Context) error {
		select {
		case err := <-answer:
			if answer <- err; err != nil {
				return err
			}
		default: // it waits for its Secrets, which may take long
		}
		if err := v.Shows(first().files); err != nil {
			return err
		}
		if refused < 0 { // what was tried before the mount is its watch
			refused = l.gate.Refused()
		}
		if l.gate.Refused() == refused {
			return errors.New("the driver did not try to reach the API server")
		}
		return nil
	})
}

func (l *lane) calledSince(ctx context.Context, before int) error {
	now, err := l.provider.Calls(ctx)
	if err == nil && now == before {
		err = errors.New("the provider was not called")
	}
	return err
}

// outlasted has kubelet repeat its call, which is answered as ever, and then has the API
// server come back.
func outlasted(t *testing.T, l *lane, v stand.Volume) {
	t.Helper()
	l.slow(t, 0)
	if shown := l.shown(t, v); shown.version != "" {
		if err := l.driver.PublishAsKubelet(t.Context(), v); err != nil {
			t.Errorf("republish without API server: %v", err)
		}
	}
	l.gate.Open()
	resumed(t, l, v)
}

// lost is a volume that was mounted before the API server went.
func lost(t *testing.T, l *lane) stand.Volume {
	t.Helper()
	l.gate.Open()
	v := l.volume()
	l.publish(t, v)
	l.recorded(t, v)
	l.gate.Shut()
	return v
}

func unpublishUnheard(ctx context.Context, l *lane, v stand.Volume) error {
	return l.driver.Unpublish(ctx, v)
}

func unmounted(t *testing.T, l *lane, v stand.Volume, answered bool) {
	t.Helper()
	leaves(stand.Nothing, stand.Nothing, stand.Whole)(t, l, v, answered)
}

func removed(t *testing.T, l *lane, v stand.Volume) {
	t.Helper()
	took, err := stand.Took(func() error { l.unpublish(t, v); return nil })
	if err != nil || took > 10*time.Second {
		t.Errorf("unpublish without API server took %v: %v", took, err)
	}
}
