//go:build attack

package attack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/stand"
)

// TestRestarts mounts many volumes of a MiB each and kills the driver again and again. It
// comes back, and every file is whole each time. With a limit of memory that is above what
// is mounted nothing changes; one below it ends the driver, and takes no file away.
func TestRestarts(t *testing.T) {
	volumes, restarts := number(t, "RESTART_VOLUMES", 20), number(t, "RESTARTS", 2)
	for name, limit := range map[string]int{ // MiB
		"no limit": 0, "a limit above what is mounted": volumes + 150, "a limit below what is mounted": volumes / 2,
	} {
		if limit != 0 && volumes < 100 { // of which a driver would not notice much
			continue
		}
		t.Run(name, func(t *testing.T) {
			l := alone(t)
			big := content{"v1", stand.Files{"big": string(noise(1 << 20))}}
			v := l.bigClass(t, big)
			if limit != 0 {
				l.config.Before = append(l.config.Before, limited(t, filepath.Base(l.node.Dir), limit)...)
			}
			l.config.Flags = append(l.config.Flags, "--kubelet-registration-path="+l.node.Socket(), "--registration-dir="+l.node.Dir)
			l.restart(t)
			mounted := l.many(t, v, volumes)
			switch {
			case limit != 0 && limit < volumes:
				l.starve(t, mounted, big)
			case len(mounted) != volumes:
				t.Fatalf("%d volumes of %d are mounted", len(mounted), volumes)
			default:
				l.restartOften(t, mounted, restarts, big)
			}
			l.config.Before = nil // so that the cgroup can go
			l.restart(t)
			for _, v := range mounted {
				l.unpublish(t, v)
			}
		})
	}
}

func noise(n int) []byte {
	random := rand.NewChaCha8([32]byte{1})
	text := make([]byte, n)
	_, _ = random.Read(text) // never fails
	return text
}

// bigClass returns a volume of a class that holds c.
func (l *lane) bigClass(t *testing.T, c content) stand.Volume {
	t.Helper()
	f := &failing{}
	l.serveServer(t, f)
	f.holds(c, false)
	v := l.volume()
	v.Class = "big-" + filepath.Base(l.node.Dir)
	if err := l.cluster.StoreClass(t.Context(), client.ObjectKey{Namespace: namespace, Name: v.Class}, oddName, map[string]string{"code": "0"}); err != nil {
		t.Fatal(err)
	}
	return v
}

// many publishes volumes like v until there are n, or the driver is gone.
func (l *lane) many(t *testing.T, v stand.Volume, n int) (mounted []stand.Volume) {
	t.Helper()
	class := v.Class
	for range n {
		v := l.volume()
		v.Class = class
		prepare(t, l, v)
		err := l.driver.Publish(t.Context(), v)
		if l.driver.Ended() {
			state, lookErr := v.Look(nil)
			t.Logf("the driver has ended at volume %d, which is %q (%v): %v", len(mounted)+1, state, lookErr, err)
			if state == stand.Nothing {
				if forget := v.Forget(); forget != nil && !errors.Is(forget, unix.ENOTEMPTY) {
					t.Error(forget)
				}
				return mounted
			}
			return append(mounted, v)
		}
		if err != nil {
			t.Fatal(err)
		}
		mounted = append(mounted, v)
	}
	return mounted
}

// restartOften kills the driver and starts it again.
func (l *lane) restartOften(t *testing.T, mounted []stand.Volume, restarts int, c content) {
	t.Helper()
	socket := filepath.Join(l.node.Dir, stand.DriverName+"-reg.sock")
	t.Logf("%d volumes of 1 MiB are mounted: RSS %d MiB", len(mounted), l.rss(t))
	for n := range restarts {
		l.kill(t)
		_ = os.Remove(socket)
		begin := time.Now()
		l.restart(t)
		l.becomes(t, "registered", func(ctx context.Context) error { return registers(ctx, socket) })
		registered := time.Since(begin)
		fresh := l.rss(t)
		for _, v := range mounted {
			if err := v.Shows(c.files); err != nil {
				t.Fatalf("after restart %d, the volume of pod %s: %v", n+1, v.Pod, err)
			}
			if err := l.driver.Publish(t.Context(), v); err != nil {
				t.Fatalf("after restart %d, republish: %v", n+1, err)
			}
		}
		later := l.rss(t)
		t.Logf("restart %d: answers and is registered after %v, RSS %d MiB, and %d MiB after a republish of all", n+1, registered.Round(time.Millisecond), fresh, later)
		if fresh > 100 || later > 100 {
			t.Errorf("the driver has %d MiB, and then %d: it keeps content", fresh, later)
		}
	}
}

// rss is the resident memory of the driver in MiB.
func (l *lane) rss(t *testing.T) int {
	t.Helper()
	kib, err := l.driver.RSS()
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// starve sees that a driver which is over its limit does not come back, and that no file
// is lost; without the limit it does.
func (l *lane) starve(t *testing.T, mounted []stand.Volume, c content) {
	t.Helper()
	if !l.driver.Ended() {
		t.Error("the driver lives on, over its limit")
		l.kill(t)
	} else if err := l.driver.Kill(); err != nil {
		t.Error(err)
	}
	_ = l.driver.Close()
	l.driver = nil
	if d, err := stand.StartDriver(t.Context(), l.config); err == nil {
		t.Log("the driver starts again, over its limit")
		if err := d.Kill(); err != nil {
			t.Error(err)
		}
		_ = d.Close()
	}
	for _, v := range mounted {
		if err := v.Shows(c.files); err != nil {
			t.Errorf("the volume of pod %s: %v", v.Pod, err)
		}
	}
	t.Logf("%d volumes are whole", len(mounted))
}

// limited is a way to start a driver in a cgroup that limits its memory, and what it keeps
// in tmpfs with it. With cgroup v2 a child can have a limit only if those above it delegate
// memory, and one that has processes of its own cannot.
func limited(t *testing.T, name string, mib int) []string {
	t.Helper()
	dir, file := "/sys/fs/cgroup/memory", "memory.limit_in_bytes"
	if _, err := os.Stat(dir); err != nil {
		dir, file = "/sys/fs/cgroup", "memory.max"
	}
	own, err := ownCgroup()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, own, "strongroom-attack-"+strconv.Itoa(os.Getppid())+"-"+name)
	if err := os.Mkdir(dir, 0o750); errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission) {
		t.Skipf("no limit of memory can be set here: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, file)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		t.Skipf("no limit of memory can be set here: there is no %s", path)
	}
	if err := os.WriteFile(path, []byte(strconv.Itoa(mib<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"/bin/sh", "-c", fmt.Sprintf(`echo $$ >%s/cgroup.procs && exec "$@"`, dir), "driver"}
}

// ownCgroup is the path of this process below the hierarchy that limits memory.
func ownCgroup() (string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	unified := "/"
	for line := range bytes.Lines(text) {
		fields := strings.SplitN(strings.TrimSpace(string(line)), ":", 3)
		switch {
		case len(fields) != 3:
		case fields[1] == "memory":
			return fields[2], nil
		case fields[0] == "0":
			unified = fields[2]
		}
	}
	return unified, nil
}
