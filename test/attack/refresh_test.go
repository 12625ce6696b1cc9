//go:build attack

package attack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	v1 "github.com/strongroom/strongroom/api/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/stand"
)

const (
	// interval is that of the driver's clock. What follows a kill takes one at most; what
	// is traced is so slow that with a shorter one refreshes leave no time for a Secret.
	interval = time.Second
	// soon is for what the driver does by itself.
	soon = 20 * time.Second
)

func rotating() []string {
	return []string{"--enable-secret-rotation", "--rotation-poll-interval=" + interval.String()}
}

// content is what the provider has at a time.
type content struct {
	version string
	files   stand.Files
}

func first() content { return content{"v1", files()} }

// second is more than a volume that was made for the first content has room for.
func second() content {
	f := files()
	f["foo"], f["conf/app.yaml"] = "rotated", strings.Repeat("password: rotated\n", 80_000)
	return content{"v2", f}
}

// versions are those of a record.
func (c content) versions() map[string]string {
	return map[string]string{"secret/foo": c.version, "secret/conf/app.yaml": c.version, "secret/fookey": "v1"}
}

// TestEveryCallOfARefresh kills the driver at the entry and at the exit of every system
// call from the tick of its clock until the new content is mounted and recorded.
func TestEveryCallOfARefresh(t *testing.T) {
	bothWays(t, func(t *testing.T, l *lane) {
		window{"refresh", asleep, finish, oneOfBoth, resumed, nil, 20}.attack(t, l)
	}, rotating()...)
}

// TestEveryCallOfARecord does that from the moment at which a volume is mounted until it
// is recorded.
func TestEveryCallOfARecord(t *testing.T) {
	t.Parallel()
	g, err := the()
	if err != nil {
		t.Fatal(err)
	}
	l := newLane(t, g, way{flags: rotating()})
	window{"record", unpublished, finish, oneOfBoth, resumed, mounting(), 0}.attack(t, l)
}

// mounting names the calls that mount a volume, and swapping those that give it another
// content.
func mounting() []string { return []string{"move_mount", "mount"} }
func swapping() []string { return []string{"rename", "renameat", "renameat2"} }

// unpublished is a volume that is to have the first content.
func unpublished(t *testing.T, l *lane) stand.Volume {
	t.Helper()
	l.holds(t, first())
	return prepared(t, l)
}

// asleep is a volume that has the first content, and is due for the second. As its token
// has expired, it waits for kubelet's next call.
func asleep(t *testing.T, l *lane) stand.Volume {
	t.Helper()
	return l.asleep(t, l.volume())
}

func (l *lane) asleep(t *testing.T, v stand.Volume) stand.Volume {
	t.Helper()
	l.holds(t, first())
	tokenless := v
	tokenless.Tokenless = true
	l.publish(t, tokenless)
	l.becomes(t, "mounted", func(ctx context.Context) error { return l.done(ctx, v, first()) })
	l.holds(t, second())
	return v
}

// finish calls as kubelet does, with a fresh token, and waits until everything is as the
// provider has it.
func finish(ctx context.Context, l *lane, v stand.Volume) error {
	err := l.driver.Publish(ctx, v)
	for status.Code(err) == codes.Aborted {
		err = l.driver.Publish(ctx, v)
	}
	if err != nil {
		return err
	}
	return l.until(ctx, func(ctx context.Context) error { return l.done(ctx, v, l.content) })
}

// oneOfBoth is what a kill leaves: a volume with one content or the other, a record that
// is not behind what the volume says of it, and no Secret that nobody claimed.
func oneOfBoth(t *testing.T, l *lane, v stand.Volume, answered bool) {
	t.Helper()
	shown := l.shown(t, v)
	if answered && shown.version != l.content.version {
		t.Errorf("it was done, and the volume has content %q", shown.version)
	}
	l.isHonest(t, v)
	if v.PodUID != "" {
		l.isClaimed(t, v)
	}
}

// resumed checks what a new driver does by itself, and then with kubelet's next call.
func resumed(t *testing.T, l *lane, v stand.Volume) {
	t.Helper()
	if shown := l.shown(t, v); shown.version != "" {
		l.becomes(t, "finished by the next driver", func(ctx context.Context) error {
			return l.done(ctx, v, shown)
		})
	}
	if err := l.driver.PublishAsKubelet(t.Context(), v); err != nil {
		t.Fatalf("publish: %v; the driver's log ends with\n%s", err, l.driver.Log())
	}
	l.becomes(t, "as its provider has it", func(ctx context.Context) error {
		state, err := v.Look(l.content.files)
		if err == nil && state != stand.Whole {
			err = errors.New(string(state))
		}
		return errors.Join(err, l.done(ctx, v, l.content))
	})
	l.unpublish(t, v)
	l.bury(t, v)
}

// holds gives the provider a content.
func (l *lane) holds(t *testing.T, c content) {
	t.Helper()
	for _, name := range []string{"foo", "conf/app.yaml"} {
		if err := l.provider.PutVersion(t.Context(), name, c.version, c.files[name]); err != nil {
			t.Fatal(err)
		}
	}
	l.content = c
}

// shown is the content that a pod finds; none if nothing is mounted and nothing need be.
func (l *lane) shown(t *testing.T, v stand.Volume) content {
	t.Helper()
	old, young := v.Shows(first().files), v.Shows(second().files)
	switch {
	case old == nil:
		return first()
	case young == nil:
		return second()
	}
	state, err := v.Look(l.content.files)
	if err != nil || state != stand.Nothing || l.content.version != first().version {
		t.Errorf("the volume of pod %s has neither content: %v; %v; %q, %v", v.Pod, old, young, state, err)
	}
	return content{}
}

// done is an error unless a volume has a content, and everybody knows.
func (l *lane) done(ctx context.Context, v stand.Volume, c content) error {
	if err := v.Shows(c.files); err != nil {
		return err
	}
	notes, err := v.Remembers()
	if err != nil {
		return err
	}
	got, err := l.record(ctx, v)
	switch {
	case err != nil:
		return err
	case !maps.Equal(got, c.versions()):
		return fmt.Errorf("the record has %v, want %v", got, c.versions())
	case notes == nil || !notes.Recorded:
		return errors.New("the volume does not remember that it was recorded")
	}
	if v.PodUID != "" {
		return l.isSynced(ctx, v, c)
	}
	return nil
}

// record returns the versions that are recorded; nil if there is no record.
func (l *lane) record(ctx context.Context, v stand.Volume) (map[string]string, error) {
	var s v1.SecretProviderClassPodStatus
	err := l.cluster.API.Get(ctx, client.ObjectKey{Namespace: v.Namespace, Name: v.Pod + "-" + v.Namespace + "-" + v.Class}, &s)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	versions := map[string]string{}
	for _, o := range s.Status.Objects {
		versions[o.ID] = o.Version
	}
	return versions, err
}

// isHonest checks that a volume which says that it is recorded is.
func (l *lane) isHonest(t *testing.T, v stand.Volume) {
	t.Helper()
	notes, err := v.Remembers()
	if err != nil {
		t.Fatal(err)
	}
	if notes == nil || !notes.Recorded {
		return
	}
	want := map[string]string{}
	for _, version := range notes.Versions {
		want[version.ID] = version.Version
	}
	if got, err := l.record(t.Context(), v); err != nil || !maps.Equal(got, want) {
		t.Errorf("the volume remembers that %v is recorded, but the record has %v (%v)", want, got, err)
	}
}

// becomes waits until a check holds.
func (l *lane) becomes(t *testing.T, what string, check func(ctx context.Context) error) {
	t.Helper()
	l.becomesIn(t, soon, what, check)
}

// becomesIn waits no longer than most.
func (l *lane) becomesIn(t *testing.T, most time.Duration, what string, check func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	if err := l.until(ctx, check); err != nil {
		t.Fatalf("it is not %s: %v; the driver's log ends with\n%s", what, err, l.driver.Log())
	}
}

// until repeats a check until it holds, the driver ends or ctx does.
func (l *lane) until(ctx context.Context, check func(ctx context.Context) error) error {
	var last error
	for {
		err := check(ctx)
		switch {
		case err == nil:
			return nil
		case ctx.Err() == nil:
			last = err
		}
		if l.driver.Ended() {
			return fmt.Errorf("the driver ended: %w", err)
		}
		select {
		case <-ctx.Done():
			return cmp.Or(last, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
