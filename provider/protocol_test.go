package provider_test

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/providertest"
	"github.com/strongroom/strongroom/provider/v1alpha1"
	"github.com/strongroom/strongroom/provider/volumes/v1"
)

// plain is a provider made without this package, as those of others are.
type plain struct {
	v1alpha1.UnimplementedCSIDriverProviderServer

	version func(context.Context) (*v1alpha1.VersionResponse, error) // nil: not implemented
	mount   func(context.Context, *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error)

	mu       sync.Mutex
	requests []*v1alpha1.MountRequest
	versions int
	odd      string // an authority other than localhost
}

func (p *plain) note(ctx context.Context) {
	md, _ := metadata.FromIncomingContext(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if a := md.Get(":authority"); !slices.Equal(a, []string{"localhost"}) {
		p.odd = fmt.Sprint(a)
	}
}

func (p *plain) Version(ctx context.Context, req *v1alpha1.VersionRequest) (*v1alpha1.VersionResponse, error) {
	p.note(ctx)
	p.mu.Lock()
	p.versions++
	p.mu.Unlock()
	if p.version == nil || req.GetVersion() != "v1alpha1" {
		return nil, status.Error(codes.Unimplemented, "method Version not implemented")
	}
	return p.version(ctx)
}

func (p *plain) Mount(ctx context.Context, req *v1alpha1.MountRequest) (*v1alpha1.MountResponse, error) {
	p.note(ctx)
	p.mu.Lock()
	p.requests = append(p.requests, req)
	p.mu.Unlock()
	if p.mount != nil {
		return p.mount(ctx, req)
	}
	return plainReply(), nil
}

func plainReply() *v1alpha1.MountResponse {
	return &v1alpha1.MountResponse{
		ObjectVersion: []*v1alpha1.ObjectVersion{{Id: "a", Version: "1"}},
		Files:         []*v1alpha1.File{{Path: "a", Mode: 420, Contents: []byte("plain")}},
	}
}

func (p *plain) seen() (requests []*v1alpha1.MountRequest, versions int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests), p.versions
}

// servePlain serves p on dir/acme.sock with nothing but gRPC.
func servePlain(t *testing.T, dir string, p *plain) (stop func()) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", filepath.Join(dir, "acme.sock"))
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	v1alpha1.RegisterCSIDriverProviderServer(g, p)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	stop = sync.OnceFunc(func() {
		g.Stop()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		if p.odd != "" {
			t.Errorf("authority %s, want localhost", p.odd)
		}
	})
	t.Cleanup(stop)
	return stop
}

func announce(audiences []string, versions bool) func(context.Context) (*v1alpha1.VersionResponse, error) {
	return func(context.Context) (*v1alpha1.VersionResponse, error) {
		return &v1alpha1.VersionResponse{Version: "v1alpha1", Audiences: audiences, UsesCurrentVersions: versions}, nil
	}
}

func fullRequest() *provider.Request {
	return &provider.Request{
		Pod: provider.Pod{Name: "web-0", Namespace: "shop", UID: "u-1", ServiceAccount: "web"}, Class: "db", Mode: 0o644,
		Tokens:  provider.Tokens{"vault": {Value: "vault-" + canary}, "azure": {Value: "azure-" + canary}},
		Current: []provider.Version{{ID: "a", Version: "0"}},
		Volume:  "csi-1", Tells: true, NotBefore: time.Unix(1700000000, 0), TargetPath: "/pods/u-1/volumes/kubernetes.io~csi/v/mount",
	}
}

func mountFull(t *testing.T, c *provider.Client) *provider.Response {
	t.Helper()
	resp, err := c.Mount(context.Background(), "acme", fullRequest())
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

func sent(req *v1alpha1.MountRequest) string {
	text := fmt.Sprintf("versions=%d", len(req.GetCurrentObjectVersion()))
	for _, audience := range []string{"azure", "vault"} {
		if strings.Contains(req.GetAttributes(), audience+"-"+canary) {
			text += " " + audience
		}
	}
	return text
}

// A provider that knows nothing of the additions is asked as ever.
func TestPlainProviderUnderOurClient(t *testing.T) {
	t.Parallel()
	for name, version := range map[string]func(context.Context) (*v1alpha1.VersionResponse, error){
		"without Version": nil,
		"with Version":    announce(nil, false),
		"failing": func(context.Context) (*v1alpha1.VersionResponse, error) {
			return nil, status.Error(codes.Internal, "no")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, p := t.TempDir(), &plain{version: version}
			servePlain(t, dir, p)
			c := client(t, dir)
			for range 3 {
				resp := mountFull(t, c)
				if string(resp.Files[0].Contents) != "plain" || resp.Refresh != 0 || !resp.Expires.IsZero() || resp.Empty {
					t.Errorf("%+v", resp)
				}
			}
			c.Unmounted(context.Background(), "acme", "csi-1")
			requests, versions := p.seen()
			if versions != 1 {
				t.Errorf("Version was called %d times, want once", versions)
			}
			for _, req := range requests {
				if got := sent(req); got != "versions=0 azure vault" {
					t.Errorf("sent %s", got)
				}
			}
		})
	}
}

// A driver that knows nothing of the additions is answered as ever.
func TestPlainDriverUnderOurServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var got *provider.Request
	serve(t, dir, mountFunc(func(ctx context.Context, req *provider.Request) (*provider.Response, error) {
		got = req
		return answer("ours")(ctx, req)
	}))
	c := plainClient(t, filepath.Join(dir, "acme.sock"))
	version, err := c.Version(context.Background(), &v1alpha1.VersionRequest{Version: "v1alpha1"})
	if err != nil || version.GetVersion() != "v1alpha1" || version.GetRuntimeName() != "acme" {
		t.Errorf("%v, %v", version, err)
	}
	reply, err := c.Mount(context.Background(), &v1alpha1.MountRequest{
		Attributes: `{"csi.storage.k8s.io/pod.name":"web-0"}`, Secrets: "null", Permission: "420",
		TargetPath: "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~csi/v/mount",
	})
	if err != nil || string(reply.GetFiles()[0].GetContents()) != "ours" {
		t.Fatalf("%v, %v", reply, err)
	}
	if got.Pod.Name != "web-0" || !strings.HasPrefix(string(got.Volume), "csi-") || !got.NotBefore.IsZero() || len(got.Current) != 0 {
		t.Errorf("%+v", got)
	}
	checkPlain(t, version)
	checkPlain(t, reply)
}

// checkPlain fails for a message with fields that are additions.
func checkPlain(t *testing.T, m proto.Message) {
	t.Helper()
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		if f.Number() >= 1000 {
			t.Errorf("%T has the addition %s", m, f.Name())
		}
		return true
	})
}

func plainClient(t *testing.T, path string) v1alpha1.CSIDriverProviderClient {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return v1alpha1.NewCSIDriverProviderClient(conn)
}

func TestAnnouncements(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := client(t, dir)
	for _, tc := range []struct {
		audiences []string
		versions  bool
		want      string
	}{
		{[]string{"vault"}, false, "versions=0 vault"},
		{[]string{"azure", "other"}, true, "versions=1 azure"},
		{nil, true, "versions=1 azure vault"},
		{[]string{"other"}, false, "versions=0"},
	} { // each is a restart with other announcements, over one Client
		p := &plain{version: announce(tc.audiences, tc.versions)}
		stop := servePlain(t, dir, p)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if _, err := c.Mount(context.Background(), "acme", fullRequest()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		requests, versions := p.seen()
		if len(requests) != 8 || versions != 1 {
			t.Errorf("%d mounts, %d calls of Version, want 8 and 1", len(requests), versions)
		}
		for _, req := range requests {
			if got := sent(req); got != tc.want || req.GetVolumeId() != "csi-1" || req.GetNotBefore().GetSeconds() != 1700000000 {
				t.Errorf("sent %s, volume %q, not before %v; want %s", got, req.GetVolumeId(), req.GetNotBefore(), tc.want)
			}
		}
		stop()
	}
}

// powers is a provider with all optional powers.
type powers struct {
	mountFunc

	gone chan provider.VolumeID
}

func (powers) Audiences() []string { return []string{"vault"} }
func (powers) UsesVersions() bool  { return true }

func (p powers) Unmounted(_ context.Context, v provider.VolumeID) {
	if v == "panic" {
		panic(canary)
	}
	p.gone <- v
}

func TestPowers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := powers{gone: make(chan provider.VolumeID, 10)}
	var got *provider.Request
	p.mountFunc = func(ctx context.Context, req *provider.Request) (*provider.Response, error) {
		got = req
		return answer("1")(ctx, req)
	}
	serve(t, dir, p)
	mountFull(t, client(t, dir))
	want := fullRequest()
	delete(want.Tokens, "azure")
	want.Parameters, want.NotBefore = map[string]string{}, want.NotBefore.UTC()
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b provider.Secret) bool { return string(a) == string(b) })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestUnmounted(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), &providertest.Buffer{}
	p := powers{mountFunc: answer("1"), gone: make(chan provider.VolumeID, 10)}
	serve(t, dir, p)
	c := clientWith(t, func(cfg *provider.ClientConfig) { cfg.Dirs, cfg.Log = []string{dir}, debugLog(log) })
	ctx := context.Background()
	c.Unmounted(ctx, "acme", "csi-0") // there is no connection
	mountFull(t, c)
	c.Unmounted(ctx, "acme", "csi-1")
	c.Unmounted(ctx, "other", "csi-2")
	if v := <-p.gone; v != "csi-1" || len(p.gone) > 0 {
		t.Errorf("told of %q and %d more", v, len(p.gone))
	}
	for v, want := range map[provider.VolumeID]string{"": "the volume id is missing", "panic": "Unmounted panicked"} {
		if c.Unmounted(ctx, "acme", v); !strings.Contains(log.String(), want) {
			t.Errorf("Unmounted(%q): %s", v, log)
		}
	}
	if strings.Contains(log.String(), canary) {
		t.Error("the log shows what a panic said")
	}
}

// A provider whose Version hangs delays the first mounts a little and no other; its
// late answer counts.
func TestVersionThatHangs(t *testing.T) {
	t.Parallel()
	dir, open := t.TempDir(), make(chan struct{})
	p := &plain{version: func(ctx context.Context) (*v1alpha1.VersionResponse, error) {
		select {
		case <-open:
		case <-ctx.Done():
		}
		return announce([]string{"vault"}, false)(ctx)
	}}
	servePlain(t, dir, p)
	c := client(t, dir)
	start := time.Now()
	mountFull(t, c)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the first mount took %v", took)
	}
	start = time.Now()
	for range 100 {
		mountFull(t, c)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("100 mounts took %v", took)
	}
	close(open)
	eventually(t, func() error {
		mountFull(t, c)
		requests, versions := p.seen()
		if got := sent(requests[len(requests)-1]); got != "versions=0 vault" || versions != 1 {
			return fmt.Errorf("sent %s, Version was called %d times", got, versions)
		}
		return nil
	})
}

func TestUnknownProtocolVersionIsWarnedOfOnce(t *testing.T) {
	t.Parallel()
	dir, log := t.TempDir(), &providertest.Buffer{}
	c := clientWith(t, func(cfg *provider.ClientConfig) { cfg.Dirs, cfg.Log = []string{dir}, debugLog(log) })
	for range 3 {
		stop := servePlain(t, dir, &plain{version: func(context.Context) (*v1alpha1.VersionResponse, error) {
			return &v1alpha1.VersionResponse{Version: "v9"}, nil
		}})
		mountFull(t, c)
		stop()
	}
	if n := strings.Count(log.String(), "unknown version of the protocol"); n != 1 || !strings.Contains(log.String(), "v9") {
		t.Errorf("%d warnings: %s", n, log.String())
	}
}

// Unmounted of a provider that does not know the service is asked once.
func TestUnmountedIsNotRepeatedToTheDeaf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	calls := 0
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "unix", filepath.Join(dir, "acme.sock"))
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		if method, _ := grpc.MethodFromServerStream(stream); method == volumes.Volumes_Unmounted_FullMethodName {
			calls++
		}
		return status.Error(codes.Unimplemented, "unknown service")
	}))
	v1alpha1.RegisterCSIDriverProviderServer(g, &plain{})
	go func() { _ = g.Serve(l) }()
	defer g.Stop()
	c := client(t, dir)
	mountFull(t, c)
	for range 3 {
		c.Unmounted(context.Background(), "acme", "csi-1")
	}
	if calls != 1 {
		t.Errorf("asked %d times", calls)
	}
}
