package provider

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/strongroom/strongroom/provider/v1alpha1"
)

const canary = "c4n4ry-v4lue"

func sample() *Request {
	return &Request{
		Pod:        Pod{Name: "web-0", Namespace: "shop", UID: "u-1", ServiceAccount: "web"},
		Tokens:     Tokens{"vault": {Value: canary, Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}},
		Class:      "db",
		Parameters: map[string]string{"roleName": "web", "objects": "- a"},
		Secrets:    map[string]Secret{"clientid": "x"},
		Current:    []Version{{ID: "a", Version: "1"}},
		Mode:       0o644,
		NotBefore:  time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC),
		Volume:     "csi-1",
		Tells:      true,
		TargetPath: "/var/lib/kubelet/pods/u-1/volumes/kubernetes.io~csi/v/mount",
	}
}

func TestRequestRoundTrip(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Request){
		"full":       func(*Request) {},
		"no tokens":  func(r *Request) { r.Tokens = nil },
		"no secrets": func(r *Request) { r.Secrets = nil },
		"first":      func(r *Request) { r.Current, r.NotBefore = []Version{}, time.Time{} },
	} {
		want := sample()
		change(want)
		wire, err := encodeRequest(want)
		if err != nil {
			t.Fatal(name, err)
		}
		got, err := decodeRequest(wire)
		if err != nil {
			t.Fatal(name, err)
		}
		if want.Current == nil {
			want.Current = []Version{}
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b Secret) bool { return string(a) == string(b) })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestVolumeID(t *testing.T) {
	t.Parallel()
	target := "/var/lib/kubelet/pods/0d3d5a2e-3b8b-4a0a-9d5c-0f6b8f6f2a11/volumes/kubernetes.io~csi/secrets/mount"
	// echo -n 0d3d5a2e-3b8b-4a0a-9d5c-0f6b8f6f2a11secrets | sha256sum
	want := VolumeID("csi-217f793752eeb1281b8403772b00f26ea05463ac0e2987d826870d9e339d903d")
	for _, tc := range []struct {
		sent, target string
		want         VolumeID
	}{
		{"", target, want},
		{"csi-sent", target, "csi-sent"},
		{"", "/other/root" + target, want},
		{"", target + "/", ""},
		{"", "/tmp/x", ""},
		{"", "", ""},
		{"", strings.Replace(target, "~csi", "~secret", 1), ""},
	} {
		if got := volumeID(&v1alpha1.MountRequest{VolumeId: tc.sent, TargetPath: tc.target}); got != tc.want {
			t.Errorf("%q, %q: %q, want %q", tc.sent, tc.target, got, tc.want)
		}
	}
}

// What existing providers read: driver-contract 2.1 and 3.4.
func TestRequestOnTheWire(t *testing.T) {
	t.Parallel()
	req := sample()
	req.Secrets = nil
	wire, err := encodeRequest(req)
	if err != nil {
		t.Fatal(err)
	}
	if wire.GetSecrets() != "null" || wire.GetPermission() != "420" || wire.GetTargetPath() != req.TargetPath {
		t.Errorf("secrets %q, permission %q, target %q", wire.GetSecrets(), wire.GetPermission(), wire.GetTargetPath())
	}
	var attributes map[string]string
	if err := json.Unmarshal([]byte(wire.GetAttributes()), &attributes); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"roleName": "web", "objects": "- a", "secretProviderClass": "db",
		"csi.storage.k8s.io/pod.name": "web-0", "csi.storage.k8s.io/pod.namespace": "shop",
		"csi.storage.k8s.io/pod.uid": "u-1", "csi.storage.k8s.io/serviceAccount.name": "web",
		"csi.storage.k8s.io/ephemeral":             "true",
		"csi.storage.k8s.io/serviceAccount.tokens": `{"vault":{"token":"` + canary + `","expirationTimestamp":"2026-01-02T03:04:05Z"}}`,
	}
	if diff := cmp.Diff(want, attributes); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The upstream driver puts tokens into both fields, or into the attributes alone.
func TestTokensFromBothPlaces(t *testing.T) {
	t.Parallel()
	tokens := `{"csi.storage.k8s.io/serviceAccount.tokens":"{\"vault\":{\"token\":\"%s\",\"expirationTimestamp\":\"2026-01-02T03:04:05Z\"}}","k":"v"}`
	for _, tc := range []struct{ attributes, secrets, want string }{
		{fmt.Sprintf(tokens, "A"), "null", "A"},
		{fmt.Sprintf(tokens, "A"), "", "A"},
		{fmt.Sprintf(tokens, "A"), fmt.Sprintf(tokens, "S"), "S"},
		{"{}", fmt.Sprintf(tokens, "S"), "S"},
		{"{}", "null", ""},
	} {
		req, err := decodeRequest(&v1alpha1.MountRequest{Attributes: tc.attributes, Secrets: tc.secrets, Permission: "420"})
		if err != nil {
			t.Fatal(err)
		}
		if got := string(req.Tokens["vault"].Value); got != tc.want {
			t.Errorf("token %q, want %q", got, tc.want)
		}
		if _, ok := req.Secrets[TokensKey]; ok {
			t.Error("tokens are still among the secrets")
		}
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	for name, wire := range map[string]*v1alpha1.MountRequest{
		"attributes no JSON":  {Attributes: canary, Permission: "420"},
		"attributes numbers":  {Attributes: `{"a":1,"b":"` + canary + `"}`, Permission: "420"},
		"attributes list":     {Attributes: `["` + canary + `"]`, Permission: "420"},
		"secrets no JSON":     {Attributes: "{}", Secrets: canary, Permission: "420"},
		"tokens no JSON":      {Attributes: `{"csi.storage.k8s.io/serviceAccount.tokens":"` + canary + `"}`, Permission: "420"},
		"tokens list":         {Attributes: `{"csi.storage.k8s.io/serviceAccount.tokens":"[\"` + canary + `\"]"}`, Permission: "420"},
		"permission missing":  {Attributes: "{}"},
		"permission octal":    {Attributes: "{}", Permission: "0o644"},
		"permission negative": {Attributes: "{}", Permission: "-1"},
		"permission large":    {Attributes: "{}", Permission: "512"},
	} {
		_, err := decodeRequest(wire)
		if err == nil || KindOf(err) != Invalid || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v (%v)", name, err, KindOf(err))
		}
	}
}

func TestResponses(t *testing.T) {
	t.Parallel()
	versions := []*v1alpha1.ObjectVersion{{Id: "b", Version: "1"}, {Id: "a", Version: "2"}, {Id: "b", Version: "3"}}
	file := []*v1alpha1.File{{Path: "a", Mode: 0o600, Contents: []byte("x")}}
	for name, tc := range map[string]struct {
		wire *v1alpha1.MountResponse
		want *Response
		err  string
	}{
		"files": {
			wire: &v1alpha1.MountResponse{ObjectVersion: versions, Files: file, RefreshAfter: durationpb.New(time.Minute)},
			want: &Response{
				Files: []File{{Path: "a", Mode: 0o600, Contents: []byte("x")}}, Refresh: time.Minute,
				Versions: []Version{{"a", "2"}, {"b", "3"}}, // sorted, the last of equal ids
			},
		},
		"stale": {
			wire: &v1alpha1.MountResponse{Empty: true, Stale: timestamppb.New(time.Unix(1700000000, 0))},
			want: &Response{Empty: true, Versions: []Version{}, Stale: time.Unix(1700000000, 0).UTC()},
		},
		"impossible stale":   {wire: &v1alpha1.MountResponse{Empty: true, Stale: &timestamppb.Timestamp{Nanos: -1}}, err: "impossible time of its last read"},
		"empty and meant":    {wire: &v1alpha1.MountResponse{Empty: true}, want: &Response{Empty: true, Versions: []Version{}}},
		"error code":         {wire: &v1alpha1.MountResponse{ObjectVersion: versions, Files: file, Error: &v1alpha1.Error{Code: "Oops"}}, err: "error code \"Oops\""},
		"error without code": {wire: &v1alpha1.MountResponse{Empty: true, Error: &v1alpha1.Error{}}, want: &Response{Empty: true, Versions: []Version{}}},
		"no versions":        {wire: &v1alpha1.MountResponse{Files: file}, err: "without object versions"},
		"no files":           {wire: &v1alpha1.MountResponse{ObjectVersion: versions}, err: "providers that write files themselves are not supported"},
		"files yet empty":    {wire: &v1alpha1.MountResponse{ObjectVersion: versions, Files: file, Empty: true}, err: "declares empty"},
		"negative mode":      {wire: &v1alpha1.MountResponse{ObjectVersion: versions, Files: []*v1alpha1.File{{Path: "a", Mode: -1}}}, err: "mode -1"},
		"bad path":           {wire: &v1alpha1.MountResponse{ObjectVersion: versions, Files: []*v1alpha1.File{{Path: "."}}}, err: "names the volume itself"},
		"negative refresh":   {wire: &v1alpha1.MountResponse{Empty: true, RefreshAfter: durationpb.New(-1)}, want: &Response{Empty: true, Versions: []Version{}}},
		"nothing":            {wire: nil, err: "without object versions"},
	} {
		got, err := decodeResponse(tc.wire)
		if tc.err != "" {
			if err == nil || !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: %v, want %q", name, err, tc.err)
			}
			continue
		}
		if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}

// The bytes are those of the protocol: number and type of each field.
func TestWireBytes(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]proto.Message{
		"\n\x01a\x12\x01b\x1a\x01c\"\x01d*\x06\n\x01i\x12\x01v": &v1alpha1.MountRequest{
			Attributes: "a", Secrets: "b", TargetPath: "c", Permission: "d",
			CurrentObjectVersion: []*v1alpha1.ObjectVersion{{Id: "i", Version: "v"}},
		},
		"\n\x06\n\x01i\x12\x01v\x12\x03\n\x01e\x1a\x09\n\x01p\x10\xa4\x03\x1a\x01c": &v1alpha1.MountResponse{
			ObjectVersion: []*v1alpha1.ObjectVersion{{Id: "i", Version: "v"}}, Error: &v1alpha1.Error{Code: "e"},
			Files: []*v1alpha1.File{{Path: "p", Mode: 420, Contents: []byte("c")}},
		},
		"\n\x01v":                   &v1alpha1.VersionRequest{Version: "v"},
		"\n\x01v\x12\x01n\x1a\x01r": &v1alpha1.VersionResponse{Version: "v", RuntimeName: "n", RuntimeVersion: "r"},
	} {
		got, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil || string(got) != want {
			t.Errorf("%T: %q, want %q", m, got, want)
		}
	}
}

func TestSecretIsNeverShown(t *testing.T) {
	t.Parallel()
	req := sample()
	req.Secrets["k"] = canary
	text, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		fmt.Sprint(req), fmt.Sprintf("%v %+v %#v", req, req, *req), string(text),
		fmt.Sprintf("%s %q %x", req.Secrets, req.Tokens, req.Secrets),
		fmt.Sprintf("%v %s %x", req.Secrets["k"], req.Tokens["vault"], req.Tokens),
	} {
		if strings.Contains(shown, canary) || strings.Contains(shown, fmt.Sprintf("%x", canary)) {
			t.Errorf("a secret shows in %s", shown)
		}
	}
}
