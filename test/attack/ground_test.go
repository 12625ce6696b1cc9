//go:build attack

package attack

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "github.com/strongroom/strongroom/api/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/stand"
)

const (
	root      = "../.."
	namespace = "attack"
	className = "three-files"
	oddName   = "odd" // of the provider that misbehaves
	leakLimit = 100   // file systems
)

func TestMain(m *testing.M) {
	if err := stand.BecomeDenied(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code, err := stand.Apart(context.Background(), func() int {
		before, err := stand.FreeDevice()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		code := m.Run()
		// Others on this machine mount things, too; a leak of one for each kill is far more.
		after, err := stand.FreeDevice()
		if err != nil || after > before+leakLimit {
			fmt.Fprintf(os.Stderr, "the lowest free device number rose from %d to %d: file systems are left (%v)\n", before, after, err)
			return 1
		}
		return code
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// files are what the class holds.
func files() stand.Files {
	return stand.Files{
		"foo":           "secret",
		"fookey":        "-----BEGIN PUBLIC KEY-----\nThis is mock key\n-----END PUBLIC KEY-----",
		"conf/app.yaml": "password: attack",
	}
}

// ground is what all tests share.
type ground struct {
	cluster *stand.Cluster
	binary  string
	nodes   atomic.Int32
}

// the ground is started by the first test and ends with the namespaces.
var the = sync.OnceValues(func() (*ground, error) { //nolint:gochecknoglobals // one for all tests
	ctx := context.Background()
	binary, err := stand.Released(filepath.Join(root, "bin/linux/driver"))
	if err != nil {
		return nil, err
	}
	cluster, err := stand.Start(ctx, root)
	if err != nil {
		return nil, err
	}
	if err := cluster.Restrict(ctx, root); err != nil {
		return nil, err
	}
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace, Labels: map[string]string{"secrets-store.csi.x-k8s.io/sync": "enabled"}}}
	if err := cluster.API.Create(ctx, space); err != nil {
		return nil, err
	}
	for name, provider := range map[string]string{className: stand.ScriptedName, oddName: oddName} {
		key := client.ObjectKey{Namespace: namespace, Name: name}
		if err := cluster.Class(ctx, key, provider, "foo", "fookey", "conf/app.yaml"); err != nil {
			return nil, err
		}
	}
	return &ground{cluster: cluster, binary: binary}, nil
})

// way is one of the two ways in which the driver makes a volume.
type way struct {
	name   string
	before []string
	flags  []string
	gate   *stand.Gate // to the API server; nil for a way that is always open
}

// bothWays runs a test in both, side by side, each on a node of its own.
func bothWays(t *testing.T, test func(t *testing.T, l *lane), flags ...string) {
	t.Parallel()
	g, err := the()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []way{
		{name: "with the mount API", flags: flags},
		{name: "without the mount API", before: stand.WithoutMountAPI(syscall.EPERM), flags: flags},
	} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			test(t, newLane(t, g, w))
		})
	}
}

// lane is a node with its provider and the driver, which is killed all the time.
type lane struct {
	*ground

	node     stand.Node
	config   stand.DriverConfig
	gate     *stand.Gate
	provider *stand.Provider
	driver   *stand.Driver
	content  content // of the provider
	pods     int
}

func newLane(t *testing.T, g *ground, w way) *lane {
	t.Helper()
	node, err := g.cluster.NewNode(fmt.Sprintf("node-%d", g.nodes.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	if w.gate != nil {
		if err = node.Behind(w.gate); err != nil {
			t.Fatal(err)
		}
	}
	l := &lane{ground: g, node: node, gate: w.gate, config: stand.DriverConfig{Binary: g.binary, Node: node, Before: w.before, Flags: w.flags}}
	if l.provider, err = stand.StartProvider(t.Context(), filepath.Join(root, "bin/linux/fakeprovider"), node); err != nil {
		t.Fatal(err)
	}
	if err := l.provider.Put(t.Context(), "conf/app.yaml", files()["conf/app.yaml"]); err != nil {
		t.Fatal(err)
	}
	l.restart(t)
	t.Cleanup(func() { l.leave(t) })
	return l
}

// leave stops everything and sees that nothing is left.
func (l *lane) leave(t *testing.T) {
	if err := l.driver.Kill(); err != nil && !t.Failed() {
		t.Error(err)
	}
	if err := l.provider.Kill(); err != nil {
		t.Error(err)
	}
	mounts, err := l.node.Mounts()
	if err != nil || len(mounts) > 0 {
		t.Errorf("left mounted: %v (%v)", mounts, err)
	}
	left, err := filepath.Glob(filepath.Join(l.node.Dir, "pods", "*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the pods folder: %v (%v)", left, err)
	}
	if err := l.node.Remove(); err != nil {
		t.Error(err)
	}
	if pids, err := l.node.Pids(); err != nil || len(pids) > 0 {
		t.Errorf("left running: %v (%v)", pids, err)
	}
}

// restart starts a driver in place of the last one.
func (l *lane) restart(t *testing.T) {
	t.Helper()
	if l.driver != nil && !l.driver.Ended() {
		l.kill(t)
	}
	d, err := stand.StartDriver(t.Context(), l.config)
	if err != nil {
		t.Fatal(err)
	}
	if l.driver != nil {
		_ = l.driver.Close()
	}
	l.driver = d
}

// volume returns a volume of a new pod.
func (l *lane) volume() stand.Volume {
	l.pods++
	return stand.Volume{
		Node: l.node, Namespace: namespace, Pod: fmt.Sprintf("%s-%d", filepath.Base(l.node.Dir), l.pods), Class: className, Group: "4711",
	}
}

// must be what it is said to be.
func (l *lane) is(t *testing.T, v stand.Volume, want ...stand.State) stand.State {
	t.Helper()
	got, err := v.Look(files())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(want, got) {
		t.Errorf("the volume of pod %s is %q, want %q", v.Pod, got, want)
	}
	return got
}

// publish repeats a call until it succeeds, and the volume is whole then.
func (l *lane) publish(t *testing.T, v stand.Volume) {
	t.Helper()
	if err := l.driver.PublishAsKubelet(t.Context(), v); err != nil {
		t.Fatalf("publish: %v; the driver's log ends with\n%s", err, l.driver.Log())
	}
	l.is(t, v, stand.Whole)
}

// unpublish repeats a call until it succeeds, and nothing is there then.
func (l *lane) unpublish(t *testing.T, v stand.Volume) {
	t.Helper()
	if err := l.driver.UnpublishAsKubelet(t.Context(), v); err != nil {
		t.Fatalf("unpublish: %v; the driver's log ends with\n%s", err, l.driver.Log())
	}
	l.is(t, v, stand.Nothing)
	if err := v.Gone(); err != nil {
		t.Error(err)
	}
	if err := v.Forget(); err != nil {
		t.Error(err)
	}
}

// recorded waits for the status object.
func (l *lane) recorded(t *testing.T, v stand.Volume) {
	t.Helper()
	key := client.ObjectKey{Namespace: v.Namespace, Name: v.Pod + "-" + v.Namespace + "-" + v.Class}
	deadline := time.Now().Add(15 * time.Second)
	for {
		var s v1.SecretProviderClassPodStatus
		err := l.cluster.API.Get(t.Context(), key, &s)
		if err == nil && len(s.Status.Objects) == len(files()) {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("the volume of pod %s is mounted, but not recorded: %v", v.Pod, err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (l *lane) tell(t *testing.T, method, path string) {
	t.Helper()
	if _, err := l.provider.Tell(t.Context(), method, path); err != nil {
		t.Fatal(err)
	}
}

// slow makes the provider take its time.
func (l *lane) slow(t *testing.T, d time.Duration) {
	t.Helper()
	l.tell(t, http.MethodPut, "/delay?for="+d.String())
}

// number reads a variable that makes a run longer or shorter.
func number(t *testing.T, variable string, normal int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return normal
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}
