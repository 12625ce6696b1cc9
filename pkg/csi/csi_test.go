package csi_test

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"

	sut "github.com/strongroom/strongroom/pkg/csi"
	"github.com/strongroom/strongroom/pkg/rotation"
	"github.com/strongroom/strongroom/provider"
	"github.com/strongroom/strongroom/provider/providertest"
)

const (
	canary = "c4n4ry-v4lue"
	target = "/var/lib/kubelet/pods/uid-1/volumes/kubernetes.io~csi/secrets/mount"
	// sha256("uid-1" + "secrets")
	volumeID = "csi-a6c970caee5cd8f948b03753322bb4387a975639a79681246d20295ab31080fb"
)

// recorder is Volumes that remember what they were asked.
type recorder struct {
	mu        sync.Mutex
	published []rotation.Volume
	removed   []string
	err       error
	boom      bool
}

func (r *recorder) Publish(_ context.Context, v rotation.Volume) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.boom {
		panic(canary)
	}
	r.published = append(r.published, v)
	return r.err
}

func (r *recorder) Unpublish(_ context.Context, id provider.VolumeID, target string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.removed = append(r.removed, string(id)+" "+target)
	return r.err
}

// start serves volumes on a real socket and returns a client of it, and the log.
func start(t *testing.T, volumes sut.Volumes, more ...string) (*grpc.ClientConn, *providertest.Buffer) {
	t.Helper()
	forged := slices.Contains(more, "forged tokens")
	path, log := filepath.Join(t.TempDir(), "csi.sock"), &providertest.Buffer{}
	s, err := sut.New(sut.Config{
		Endpoint: "unix://" + path, DriverName: "secrets-store.csi.k8s.io", Version: "v1", NodeID: "node-1", Volumes: volumes,
		TokensInContext: func(context.Context) (bool, error) { return !forged, nil },
		Log:             slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Listen(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	conn, err := grpc.NewClient("unix://"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	if err := s.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	return conn, log
}

func publishRequest() *csi.NodePublishVolumeRequest {
	return &csi.NodePublishVolumeRequest{
		VolumeId: volumeID, TargetPath: target, Readonly: true,
		VolumeCapability: &csi.VolumeCapability{AccessType: &csi.VolumeCapability_Mount{Mount: &csi.VolumeCapability_MountVolume{}}},
		VolumeContext: map[string]string{
			"secretProviderClass":                      "db",
			"csi.storage.k8s.io/pod.name":              "web-0",
			"csi.storage.k8s.io/pod.namespace":         "shop",
			"csi.storage.k8s.io/pod.uid":               "uid-1",
			"csi.storage.k8s.io/serviceAccount.name":   "web",
			"csi.storage.k8s.io/ephemeral":             "true",
			"csi.storage.k8s.io/serviceAccount.tokens": tokens("context"),
		},
	}
}

func tokens(which string) string {
	return `{"vault":{"token":"` + canary + which + `","expirationTimestamp":"2026-01-02T03:04:05Z"}}`
}

func TestPublishTranslates(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	conn, log := start(t, r)
	req := publishRequest()
	req.Secrets = map[string]string{"csi.storage.k8s.io/serviceAccount.tokens": tokens("secrets"), "password": canary}
	req.VolumeContext["role"] = "x"
	req.VolumeContext["providerName"] = "old"
	req.VolumeCapability.GetMount().VolumeMountGroup = "1000"
	if _, err := csi.NewNodeClient(conn).NodePublishVolume(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	want := []rotation.Volume{{
		ID: volumeID, Target: target, Class: "db", Attributes: map[string]string{"role": "x"}, GID: 1000,
		Pod:     provider.Pod{Name: "web-0", Namespace: "shop", UID: "uid-1", ServiceAccount: "web"},
		Tokens:  provider.Tokens{"vault": {Value: canary + "secrets", Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}},
		Secrets: map[string]provider.Secret{"password": canary},
	}}
	if diff := cmp.Diff(want, r.published, cmpopts.IgnoreFields(rotation.Volume{}, "Verify"), cmp.Comparer(func(a, b provider.Secret) bool { return string(a) == string(b) })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if strings.Contains(log.String(), canary) || !strings.Contains(log.String(), "NodePublishVolume") {
		t.Errorf("log: %s", log)
	}
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	conn, log := start(t, r)
	for want, change := range map[string]func(*csi.NodePublishVolumeRequest){
		"volume capability is missing":  func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability = nil },
		"volume id is missing":          func(r *csi.NodePublishVolumeRequest) { r.VolumeId = "" },
		"target path is missing":        func(r *csi.NodePublishVolumeRequest) { r.TargetPath = "" },
		"not absolute and clean":        func(r *csi.NodePublishVolumeRequest) { r.TargetPath = strings.ReplaceAll(target, "pods", "pods/..") },
		"volume context is missing":     func(r *csi.NodePublishVolumeRequest) { r.VolumeContext = nil },
		"attribute secretProviderClass": func(r *csi.NodePublishVolumeRequest) { delete(r.VolumeContext, "secretProviderClass") },
		"podInfoOnMount: true":          func(r *csi.NodePublishVolumeRequest) { delete(r.VolumeContext, "csi.storage.k8s.io/pod.name") },
		"must be read-only":             func(r *csi.NodePublishVolumeRequest) { r.Readonly = false },
		"does not agree with":           func(r *csi.NodePublishVolumeRequest) { r.VolumeContext["csi.storage.k8s.io/pod.uid"] = "uid-2" },
		"is not that of a pod's CSI":    func(r *csi.NodePublishVolumeRequest) { r.TargetPath = "/tmp/x" },
		"is not that of volume":         func(r *csi.NodePublishVolumeRequest) { r.VolumeId = "csi-1" },
		"parse service account tokens": func(r *csi.NodePublishVolumeRequest) {
			r.VolumeContext["csi.storage.k8s.io/serviceAccount.tokens"] = canary
		},
		"is not a group id": func(r *csi.NodePublishVolumeRequest) { r.VolumeCapability.GetMount().VolumeMountGroup = "-1" },
	} {
		req := publishRequest()
		change(req)
		_, err := csi.NewNodeClient(conn).NodePublishVolume(t.Context(), req)
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
		if strings.Contains(err.Error(), canary) {
			t.Errorf("a token shows: %v", err)
		}
	}
	if len(r.published) != 0 {
		t.Errorf("%d calls got through", len(r.published))
	}
	if strings.Contains(log.String(), canary) {
		t.Error("the log shows a token")
	}
}

func TestCodes(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	conn, _ := start(t, r)
	for kind, want := range map[provider.Kind]codes.Code{
		provider.Unknown: codes.Unknown, provider.Invalid: codes.InvalidArgument, provider.NotFound: codes.NotFound,
		provider.Denied: codes.PermissionDenied, provider.Unavailable: codes.Unavailable, provider.Throttled: codes.ResourceExhausted,
		provider.Timeout: codes.DeadlineExceeded, provider.Busy: codes.Aborted, provider.TooLarge: codes.ResourceExhausted,
		provider.Internal: codes.Internal,
	} {
		r.err = provider.Errorf(kind, "as told")
		if _, err := csi.NewNodeClient(conn).NodePublishVolume(t.Context(), publishRequest()); status.Code(err) != want {
			t.Errorf("publish: %v became %v", kind, err)
		}
		req := &csi.NodeUnpublishVolumeRequest{VolumeId: volumeID, TargetPath: target}
		if _, err := csi.NewNodeClient(conn).NodeUnpublishVolume(t.Context(), req); status.Code(err) != want {
			t.Errorf("unpublish: %v became %v", kind, err)
		}
	}
}

func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	conn, log := start(t, &recorder{boom: true})
	for range 2 {
		_, err := csi.NewNodeClient(conn).NodePublishVolume(t.Context(), publishRequest())
		if status.Code(err) != codes.Internal || strings.Contains(err.Error(), canary) {
			t.Errorf("%v", err)
		}
	}
	if strings.Contains(log.String(), canary) {
		t.Error("the log shows what the panic said")
	}
}

func TestUnpublish(t *testing.T) {
	t.Parallel()
	r := &recorder{}
	conn, _ := start(t, r)
	for _, bad := range []*csi.NodeUnpublishVolumeRequest{{VolumeId: "a"}, {TargetPath: "/a"}} {
		if _, err := csi.NewNodeClient(conn).NodeUnpublishVolume(t.Context(), bad); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%v: %v", bad, err)
		}
	}
	req := &csi.NodeUnpublishVolumeRequest{VolumeId: "any", TargetPath: "/any"}
	if _, err := csi.NewNodeClient(conn).NodeUnpublishVolume(t.Context(), req); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"any /any"}, r.removed); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What kubelet is told of the driver. (driver-contract 3.1 to 3.3)
func TestWhatTheDriverSaysOfItself(t *testing.T) {
	t.Parallel()
	conn, _ := start(t, &recorder{})
	ctx := t.Context()
	identity, controller, node := csi.NewIdentityClient(conn), csi.NewControllerClient(conn), csi.NewNodeClient(conn)
	for want, ask := range map[string]func() (proto.Message, error){
		`name:"secrets-store.csi.k8s.io" vendor_version:"v1"`: func() (proto.Message, error) {
			return identity.GetPluginInfo(ctx, &csi.GetPluginInfoRequest{})
		},
		`capabilities:{service:{type:CONTROLLER_SERVICE}}`: func() (proto.Message, error) {
			return identity.GetPluginCapabilities(ctx, &csi.GetPluginCapabilitiesRequest{})
		},
		`capabilities:{rpc:{}}`: func() (proto.Message, error) {
			return controller.ControllerGetCapabilities(ctx, &csi.ControllerGetCapabilitiesRequest{})
		},
		`node_id:"node-1"`: func() (proto.Message, error) {
			return node.NodeGetInfo(ctx, &csi.NodeGetInfoRequest{})
		},
		`capabilities:{rpc:{type:STAGE_UNSTAGE_VOLUME}} capabilities:{rpc:{type:VOLUME_MOUNT_GROUP}}`: func() (proto.Message, error) {
			return node.NodeGetCapabilities(ctx, &csi.NodeGetCapabilitiesRequest{})
		},
	} {
		got, err := ask()
		if err != nil {
			t.Fatal(err)
		}
		if text := strings.ReplaceAll(prototext.MarshalOptions{}.Format(got), "  ", " "); text != want {
			t.Errorf("got %s, want %s", text, want)
		}
	}
}

func TestUnimplementedCalls(t *testing.T) {
	t.Parallel()
	conn, _ := start(t, &recorder{})
	_, err := csi.NewControllerClient(conn).CreateVolume(t.Context(), &csi.CreateVolumeRequest{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("CreateVolume: %v", err)
	}
	_, err = csi.NewNodeClient(conn).NodeGetVolumeStats(t.Context(), &csi.NodeGetVolumeStatsRequest{})
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("NodeGetVolumeStats: %v", err)
	}
}

func TestParseEndpoint(t *testing.T) {
	t.Parallel()
	for endpoint, want := range map[string][2]string{
		"unix:///csi/csi.sock": {"unix", "/csi/csi.sock"}, "unix://tmp/csi.sock": {"unix", "/tmp/csi.sock"},
		"UNIX:///a": {"unix", "/a"}, "tcp://127.0.0.1:80": {"tcp", "127.0.0.1:80"},
	} {
		network, address, err := sut.ParseEndpoint(endpoint)
		if err != nil || network != want[0] || address != want[1] {
			t.Errorf("%s: %s %s %v", endpoint, network, address, err)
		}
	}
	for _, bad := range []string{"", "unix://", "/a", "http://a", "unix:/a"} {
		if _, _, err := sut.ParseEndpoint(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestSocketOfAnEarlierProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deep", "csi.sock")
	s, err := sut.New(sut.Config{
		Endpoint: "unix://" + path, DriverName: "d", NodeID: "n", Volumes: &recorder{},
		TokensInContext: func(context.Context) (bool, error) { return true, nil }, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l, err := s.Listen(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// Tokens in the volume context are kubelet's only if it is told to put them there.
func TestTokensInContextAreVerified(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"": "", "forged tokens": "not kubelet's"} {
		r := &recorder{}
		conn, _ := start(t, r, name)
		req := publishRequest()
		if _, err := csi.NewNodeClient(conn).NodePublishVolume(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		req.Secrets = map[string]string{provider.TokensKey: tokens("secrets")}
		if _, err := csi.NewNodeClient(conn).NodePublishVolume(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		err := r.published[0].Verify(t.Context())
		if (err != nil) != (want != "") || err != nil && (!strings.Contains(err.Error(), want) || provider.KindOf(err) != provider.Invalid) {
			t.Errorf("%q: %v", name, err)
		}
		if r.published[1].Verify != nil {
			t.Error("tokens from the secrets need no check")
		}
	}
}
