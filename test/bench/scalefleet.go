package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/strongroom/strongroom/api/v1"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/stand"
)

const (
	elsewhere      = "elsewhere" // a namespace of other nodes' pods
	foreignClasses = 5000
	foreignSecrets = 30000
	foreignNodes   = 1000
	podsOfForeign  = 30

	fleetNodes   = 200
	fleetVolumes = 5 // of each node, each of a class of its own
	// observed is the half minute over which the nodes come back, and the minute over
	// which each reads its classes again, with some more.
	observed = 120 * time.Second
)

// kindSize is how much objects of a kind take in etcd.
type kindSize struct {
	kind  string
	count int
	bytes float64 // of all
}

// foreigners fills the API server with what others have.
func (s *scaling) foreigners(ctx context.Context) error {
	if err := s.cluster.Namespace(ctx, elsewhere); err != nil {
		return err
	}
	for _, kind := range []struct {
		name  string
		count int
		one   func(i int) client.Object
	}{
		{"SecretProviderClass", foreignClasses / s.less, foreignClass},
		{"Secret of 4 KiB", foreignSecrets / s.less, foreignSecret},
		{"SecretProviderClassPodStatus of ten objects", foreignNodes / s.less * podsOfForeign, s.foreignStatus},
	} {
		before, err := s.etcdSize(ctx)
		if err != nil {
			return err
		}
		if _, err = measure(ctx, kind.count, 16, func(ctx context.Context, i int) error { return s.cluster.API.Create(ctx, kind.one(i)) }); err != nil {
			return fmt.Errorf("make objects of others: %w", err)
		}
		after, err := s.etcdSize(ctx)
		if err != nil {
			return err
		}
		s.foreign = append(s.foreign, kindSize{kind.name, kind.count, after - before})
	}
	return nil
}

func (s *scaling) etcdSize(ctx context.Context) (float64, error) {
	page, err := s.apiMetrics(ctx)
	return total(page, "apiserver_storage_size_bytes"), err
}

func foreignClass(i int) client.Object {
	return &v1.SecretProviderClass{
		ObjectMeta: metav1.ObjectMeta{Namespace: elsewhere, Name: fmt.Sprintf("class-%d", i)},
		Spec: v1.SecretProviderClassSpec{
			Provider: stand.ScriptedName, Parameters: map[string]string{"objects": "array:\n- |\n  objectName: foo\n- |\n  objectName: fookey\n"},
		},
	}
}

// foreignSecret has the label that a driver selects by.
func foreignSecret(i int) client.Object {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: elsewhere, Name: fmt.Sprintf("secret-%d", i), Labels: map[string]string{"secrets-store.csi.k8s.io/managed": "true"},
		},
		Data: map[string][]byte{"value": []byte(strings.Repeat("s", secretSize))},
	}
}

// foreignStatus is one as the driver writes it, of a pod on another node.
func (s *scaling) foreignStatus(i int) client.Object {
	const label = "internal.secrets-store.csi.k8s.io/node-name"
	status := s.status.DeepCopy()
	node := fmt.Sprintf("other-%d", i/podsOfForeign)
	status.ObjectMeta = metav1.ObjectMeta{
		Namespace: elsewhere, Name: fmt.Sprintf("pod-%d-%s-azure", i, elsewhere), OwnerReferences: status.OwnerReferences,
		Labels: map[string]string{label: node}, Annotations: map[string]string{label: node},
	}
	status.Status.PodName = fmt.Sprintf("pod-%d", i)
	return status
}

// restart is what an API server did after it was killed.
type restart struct {
	nodes                   int
	ready                   time.Duration // from its end until it answers for status objects
	observed                time.Duration // from then on
	cpu                     time.Duration
	rss, peak               int // KiB
	watches, lists, gets    float64
	refused                 float64 // watches that could not go on where they were
	listBytes, getBytes     float64
	watchEvents, watchBytes float64
	editEvents, editBytes   float64 // of one edit of a class
	writes, drivers         float64 // of status objects, and of CSIDriver objects
}

// fleet restarts the API server while nobody watches it, and then with drivers of many
// nodes, each of which has some volumes.
func (s *scaling) fleet(ctx context.Context) error {
	if err := s.restart(ctx, 0, 10*time.Second); err != nil {
		return err
	}
	drivers := make([]*stand.Driver, fleetNodes/s.less)
	_, err := measure(ctx, len(drivers), 8, func(ctx context.Context, i int) (err error) {
		drivers[i], err = s.startNode(ctx, i)
		return err
	})
	if err == nil {
		err = s.restart(ctx, len(drivers), observed) // all have come back by then
	}
	for _, d := range drivers {
		if d != nil {
			err = errors.Join(err, d.Close(), d.Kill())
		}
	}
	return err
}

// startNode starts the released driver of another node, and publishes there.
func (s *scaling) startNode(ctx context.Context, i int) (*stand.Driver, error) {
	name := fmt.Sprintf("node-%d", i)
	node, err := s.cluster.NewNode(name)
	if err != nil {
		return nil, err
	}
	d, err := stand.StartDriver(ctx, stand.DriverConfig{Binary: s.binary, Node: node, Flags: []string{
		"--nodeid=" + name, "--provider-volume=" + filepath.Dir(s.node.ProviderSocket(stand.ScriptedName)),
	}})
	if err != nil {
		return nil, err
	}
	for j := range fleetVolumes {
		v := stand.Volume{
			Node: node, Namespace: elsewhere, Pod: fmt.Sprintf("%s-%d", name, j), Class: fmt.Sprintf("class-%d", i*fleetVolumes+j),
		}
		if err := v.Prepare(); err != nil {
			return d, err
		}
		if err := d.Publish(ctx, v); err != nil {
			return d, fmt.Errorf("publish on %s: %w", name, err)
		}
	}
	return d, nil
}

// restart kills the API server, starts it again, and looks for a while at what it is asked.
func (s *scaling) restart(ctx context.Context, nodes int, observe time.Duration) error {
	r := restart{nodes: nodes, observed: observe}
	begin := time.Now()
	pid, err := s.killAPIServer(ctx)
	if err != nil {
		return err
	}
	if err = s.untilAPIServes(ctx); err != nil {
		return err
	}
	r.ready = time.Since(begin)
	if err = sleep(ctx, observe); err != nil {
		return err
	}
	if r.cpu, err = cpuTime(pid); err != nil {
		return err
	}
	if r.rss, r.peak, err = stand.Resident(pid); err != nil {
		return err
	}
	page, err := s.apiMetrics(ctx)
	if err != nil {
		return err
	}
	r.read(page)
	err = s.edit(ctx, &r)
	s.restarts = append(s.restarts, r)
	return err
}

// edit edits a class that no node uses, and waits until every watch has told so.
func (s *scaling) edit(ctx context.Context, r *restart) error {
	class := &v1.SecretProviderClass{}
	if err := s.cluster.API.Get(ctx, client.ObjectKey{Namespace: elsewhere, Name: fmt.Sprintf("class-%d", foreignClasses/s.less-1)}, class); err != nil {
		return fmt.Errorf("get a class: %w", err)
	}
	class.Spec.Parameters["edit"] = strconv.Itoa(r.nodes)
	if err := s.cluster.API.Update(ctx, class); err != nil {
		return fmt.Errorf("edit a class: %w", err)
	}
	return poll(ctx, func() (bool, error) {
		page, err := s.apiMetrics(ctx)
		r.editEvents, r.editBytes = watchEvents(page)
		r.editEvents, r.editBytes = r.editEvents-r.watchEvents, r.editBytes-r.watchBytes
		return r.editEvents >= float64(r.nodes), err
	})
}

// watchEvents is what the watches of classes were told so far.
func watchEvents(page string) (count, bytes float64) {
	const classes = `resource="secretproviderclasses"`
	return total(page, "apiserver_watch_events_sizes_count", classes), total(page, "apiserver_watch_events_sizes_sum", classes)
}

// read takes what the API server says of requests for classes since its start.
func (r *restart) read(page string) {
	const classes, count = `resource="secretproviderclasses"`, "apiserver_request_total"
	r.watches = total(page, "apiserver_longrunning_requests", classes, `verb="WATCH"`)
	r.refused = total(page, count, classes, `verb="WATCH"`)
	r.lists, r.gets = total(page, count, classes, `verb="LIST"`), total(page, count, classes, `verb="GET"`)
	r.listBytes = total(page, "apiserver_response_sizes_sum", classes, `verb="LIST"`)
	r.getBytes = total(page, "apiserver_response_sizes_sum", classes, `verb="GET"`)
	r.watchEvents, r.watchBytes = watchEvents(page)
	for _, verb := range []string{"POST", "PUT", "PATCH"} {
		r.writes += total(page, count, `group="secrets-store.csi.x-k8s.io"`, `verb="`+verb+`"`)
	}
	r.drivers = total(page, count, `resource="csidrivers"`)
}

// killAPIServer ends the API server as a crash does, and starts it as it was.
func (s *scaling) killAPIServer(ctx context.Context) (int, error) {
	pid, err := processOf("kube-apiserver")
	if err != nil {
		return 0, err
	}
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return 0, fmt.Errorf("see how the API server was started: %w", err)
	}
	if err = unix.Kill(pid, unix.SIGKILL); err != nil {
		return 0, fmt.Errorf("kill the API server: %w", err)
	}
	if err = poll(ctx, func() (bool, error) { return errors.Is(unix.Kill(pid, 0), unix.ESRCH), nil }); err != nil {
		return 0, fmt.Errorf("wait for the end of the API server: %w", err)
	}
	args := strings.Split(strings.TrimSuffix(string(line), "\x00"), "\x00")
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) // as it ran before
	if err = cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the API server again: %w", err)
	}
	go func() { _ = cmd.Wait() }() // so that its end can be seen
	return cmd.Process.Pid, nil
}

func (s *scaling) untilAPIServes(ctx context.Context) error {
	var last error
	err := poll(ctx, func() (bool, error) {
		last = s.cluster.API.List(ctx, &v1.SecretProviderClassPodStatusList{}, client.InNamespace(namespace), client.Limit(1))
		return last == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for the API server: %w: %w", err, last)
	}
	return nil
}
