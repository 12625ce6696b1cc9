//go:build sanity

package sanity

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"github.com/onsi/ginkgo/v2"
	"github.com/onsi/ginkgo/v2/types"
	"github.com/onsi/gomega"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/strongroom/strongroom/test/internal/stand"
)

const (
	root      = "../.."
	namespace = "sanity"
	className = "two-files"
	repeats   = 10 // of calls that must be idempotent
)

// skipped are the specs that may be skipped, one a line: those of services and
// capabilities that the driver does not have. The controller that it announces, as
// upstream does, is there for the announcement only.
//
//go:embed skipped.txt
var skipped string

func TestMain(m *testing.M) {
	code, err := stand.Apart(context.Background(), m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// TestSanity runs all specs of the suite, and shows each as a test of its own.
func TestSanity(t *testing.T) {
	d := newDouble(t)
	config := sanity.NewTestConfig()
	config.Address = "unix:" + d.node.Socket()
	config.ControllerAddress = "unix:" + d.serve(t)
	config.DialOptions = append(config.DialOptions, grpc.WithUnaryInterceptor(d.asKubelet))
	config.IDGen = d
	config.IdempotentCount = repeats
	config.CreateTargetDir = d.createTarget
	config.RemoveTargetPath = d.removeTarget
	config.CheckPath = checkPath
	sc := sanity.GinkgoTest(&config)
	var report ginkgo.Report
	ginkgo.ReportAfterSuite("report", func(r ginkgo.Report) { report = r })
	gomega.RegisterFailHandler(ginkgo.Fail)
	suite, reporter := ginkgo.GinkgoConfiguration()
	suite.FocusStrings = []string{"Identity Service", "Node Service"} // a controller would be the double
	reporter.Succinct = true
	ginkgo.RunSpecs(t, "csi-sanity", suite, reporter)
	sc.Finalize()
	show(t, report)
	d.check(t)
}

// show makes a test of each spec. One that is skipped must be among those that may be,
// and the other way round.
func show(t *testing.T, report ginkgo.Report) {
	t.Helper()
	may := strings.Split(strings.TrimSpace(skipped), "\n")
	var did []string
	for _, spec := range report.SpecReports {
		if spec.LeafNodeType != types.NodeTypeIt {
			continue
		}
		t.Run(spec.FullText(), func(t *testing.T) {
			switch {
			case spec.State == types.SpecStatePassed:
			case !spec.State.Is(types.SpecStateSkipped | types.SpecStatePending):
				t.Errorf("%s: %s at %s", spec.State, spec.Failure.Message, spec.Failure.Location)
			case !slices.Contains(may, spec.FullText()):
				t.Errorf("was skipped, and skipped.txt does not allow it: %s: %s", spec.FullText(), spec.Failure.Message)
			default:
				did = append(did, spec.FullText())
				t.Skip(cmp.Or(spec.Failure.Message, "about a service that the driver does not offer"))
			}
		})
	}
	for _, name := range may {
		if !slices.Contains(did, name) {
			t.Errorf("skipped.txt allows to skip %q, which was not skipped or is no spec", name)
		}
	}
}

// identity is the driver's.
type identity struct {
	csi.UnimplementedIdentityServer

	of csi.IdentityClient
}

func (i identity) GetPluginInfo(ctx context.Context, req *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return i.of.GetPluginInfo(ctx, req)
}

func (i identity) GetPluginCapabilities(ctx context.Context, req *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return i.of.GetPluginCapabilities(ctx, req)
}

func (i identity) Probe(ctx context.Context, req *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return i.of.Probe(ctx, req)
}

// double is the controller that the suite wants, and what stands for kubelet.
type double struct {
	csi.UnimplementedControllerServer

	cluster *stand.Cluster
	node    stand.Node
	driver  *stand.Driver
	count   atomic.Int32
	mounted atomic.Int32
	current atomic.Pointer[stand.Volume] // of the spec that runs; there is one at a time
}

var _ sanity.IDGenerator = (*double)(nil)

func newDouble(t *testing.T) *double {
	t.Helper()
	ctx := t.Context()
	binary, err := stand.Released(filepath.Join(root, "bin/linux/driver"))
	if err != nil {
		t.Fatal(err)
	}
	d := &double{}
	if d.cluster, err = stand.Start(ctx, root); err != nil {
		t.Fatal(err)
	}
	if d.node, err = d.cluster.NewNode("sanity"); err != nil {
		t.Fatal(err)
	}
	if err = d.cluster.Namespace(ctx, namespace); err != nil {
		t.Fatal(err)
	}
	key := client.ObjectKey{Namespace: namespace, Name: className}
	if err = d.cluster.Class(ctx, key, stand.ScriptedName, "foo", "fookey"); err != nil {
		t.Fatal(err)
	}
	if _, err = stand.StartProvider(ctx, filepath.Join(root, "bin/linux/fakeprovider"), d.node); err != nil {
		t.Fatal(err)
	}
	if d.driver, err = stand.StartDriver(ctx, stand.DriverConfig{Binary: binary, Node: d.node}); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *double) serve(t *testing.T) string {
	t.Helper()
	path := filepath.Join(d.node.Dir, "controller.sock")
	var config net.ListenConfig
	socket, err := config.Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(insecure.NewCredentials()))
	csi.RegisterControllerServer(s, d)
	csi.RegisterIdentityServer(s, identity{of: d.driver.Identity()})
	go func() { _ = s.Serve(socket) }()
	t.Cleanup(s.Stop)
	return path
}

// check sees that specs did something, and left nothing.
func (d *double) check(t *testing.T) {
	t.Helper()
	if d.mounted.Load() == 0 {
		t.Error("no spec found the files of a volume")
	}
	mounts, err := d.node.Mounts()
	if err != nil || len(mounts) > 0 {
		t.Errorf("left mounted: %v (%v)", mounts, err)
	}
	if err := d.driver.Stop(); err != nil {
		t.Error(err)
	}
}

// ControllerGetCapabilities implements csi.ControllerServer: none.
func (d *double) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	return &csi.ControllerGetCapabilitiesResponse{}, nil
}

// CreateVolume implements csi.ControllerServer. The volume is that of the pod whose
// target path the spec uses.
func (d *double) CreateVolume(_ context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	v := d.current.Load()
	return &csi.CreateVolumeResponse{Volume: &csi.Volume{
		VolumeId: v.ID(), VolumeContext: v.Context(), CapacityBytes: req.GetCapacityRange().GetRequiredBytes(),
	}}, nil
}

// DeleteVolume implements csi.ControllerServer. At this time the pod's volume must be
// unpublished.
func (d *double) DeleteVolume(context.Context, *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	return &csi.DeleteVolumeResponse{}, d.current.Load().Gone()
}

// GenerateUniqueValidVolumeID implements sanity.IDGenerator.
func (d *double) GenerateUniqueValidVolumeID() string { return d.current.Load().ID() }

// GenerateInvalidVolumeID implements sanity.IDGenerator.
func (*double) GenerateInvalidVolumeID() string { return "no-such-volume" }

// GenerateUniqueValidNodeID implements sanity.IDGenerator.
func (*double) GenerateUniqueValidNodeID() string { return "n1" }

// GenerateInvalidNodeID implements sanity.IDGenerator.
func (*double) GenerateInvalidNodeID() string { return "no-such-node" }

// createTarget makes the directory above a new pod's target, as kubelet does.
func (d *double) createTarget(string) (string, error) {
	v := &stand.Volume{Node: d.node, Namespace: namespace, Pod: fmt.Sprintf("pod-%d", d.count.Add(1)), Class: className}
	d.current.Store(v)
	return filepath.Dir(v.Target()), v.Prepare()
}

// removeTarget fails if the volume's directory holds anything but what kubelet made.
func (d *double) removeTarget(string) error { return d.current.Load().Forget() }

// asKubelet does to calls what the suite does not: the volume is read-only, and its
// target has the name that kubelet gives it. What was published is looked at.
//
//nolint:revive // gRPC's signature
func (d *double) asKubelet(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	switch r := req.(type) {
	case *csi.NodePublishVolumeRequest:
		r, _ = proto.Clone(r).(*csi.NodePublishVolumeRequest)
		r.Readonly = true
		r.TargetPath = kubeletPath(r.GetTargetPath())
		req = r
	case *csi.NodeUnpublishVolumeRequest:
		r, _ = proto.Clone(r).(*csi.NodeUnpublishVolumeRequest)
		r.TargetPath = kubeletPath(r.GetTargetPath())
		req = r
	}
	err := invoke(ctx, method, req, reply, conn, opts...)
	if _, ok := req.(*csi.NodePublishVolumeRequest); ok && err == nil {
		err = d.look()
	}
	return err
}

// look sees that a volume that was published is whole.
func (d *double) look() error {
	state, err := d.current.Load().Look(stand.Files{
		"foo":    "secret",
		"fookey": "-----BEGIN PUBLIC KEY-----\nThis is mock key\n-----END PUBLIC KEY-----",
	})
	if err == nil && state != stand.Whole {
		err = fmt.Errorf("publish was answered with OK, and the volume is %q", state)
	}
	d.mounted.Add(1)
	return err
}

func kubeletPath(path string) string {
	if dir, ok := strings.CutSuffix(path, "/target"); ok {
		return dir + "/mount"
	}
	return path
}

func checkPath(path string) (sanity.PathKind, error) {
	info, err := os.Stat(kubeletPath(path))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return sanity.PathIsNotFound, nil
	case err != nil:
		return "", err
	case info.IsDir():
		return sanity.PathIsDir, nil
	}
	return sanity.PathIsFile, nil
}
