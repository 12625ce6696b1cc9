package provider

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"google.golang.org/protobuf/proto"

	"github.com/strongroom/strongroom/provider/v1alpha1"
)

// A driver's request: what is refused is refused as invalid, and not quoted; what is
// not is the same after another trip over the wire.
func FuzzDecodeRequest(f *testing.F) {
	f.Add(`{"a":"b"}`, "null", "420", "/pods/u/volumes/kubernetes.io~csi/v/mount")
	f.Add(`{"csi.storage.k8s.io/serviceAccount.tokens":"{\"v\":{\"token\":\"t\"}}"}`, `{"a":"b"}`, "0", "")
	f.Add(`{"csi.storage.k8s.io/pod.name":"p","secretProviderClass":"c"}`, `{"csi.storage.k8s.io/serviceAccount.tokens":"{}"}`, "511", "/")
	f.Add(`{"a":1}`, "", "0x1", "")
	f.Fuzz(func(t *testing.T, attributes, secrets, permission, target string) {
		wire := &v1alpha1.MountRequest{Attributes: attributes, Secrets: secrets, Permission: permission, TargetPath: target}
		req, err := decodeRequest(wire)
		if err != nil {
			checkRefusal(t, err, attributes, secrets)
			return
		}
		if req.Mode&^modeMask != 0 {
			t.Errorf("mode %v", req.Mode)
		}
		wire, err = encodeRequest(req)
		if err != nil {
			if len(req.Tokens) > 0 { // a time of expiry that JSON cannot hold
				return
			}
			t.Fatal(err)
		}
		again, err := decodeRequest(wire)
		if err != nil {
			t.Fatal(err)
		}
		req.Tells = req.Volume != "" // what we encode says it
		if diff := cmp.Diff(req, again, bareSecrets(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("(-first +again):\n%s", diff)
		}
	})
}

// checkRefusal fails if an error is of the wrong kind or repeats an input that may
// be a secret.
func checkRefusal(t *testing.T, err error, secrets ...string) {
	t.Helper()
	if KindOf(err) != Invalid {
		t.Errorf("kind %v: %v", KindOf(err), err)
	}
	for _, secret := range secrets {
		if len(secret) > 40 && strings.Contains(err.Error(), secret) {
			t.Errorf("quoted: %v", err)
		}
	}
}

func bareSecrets() cmp.Option {
	return cmp.Comparer(func(a, b Secret) bool { return string(a) == string(b) })
}

func FuzzParseTokens(f *testing.F) {
	f.Add(`{"vault":{"token":"t","expirationTimestamp":"2026-01-02T03:04:05Z"}}`)
	f.Add(`{"":{"token":""}}`)
	f.Add(`null`)
	f.Add(`{"a":null,"b":{"token":1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		tokens, err := ParseTokens(text)
		if err != nil {
			checkRefusal(t, err, text)
			return
		}
		encoded, err := encodeTokens(tokens)
		if err != nil {
			return // a time of expiry that JSON cannot hold
		}
		again, err := ParseTokens(encoded)
		if err != nil {
			t.Fatal(err)
		}
		if len(again) != len(tokens) {
			t.Errorf("%d tokens, then %d", len(tokens), len(again))
		}
		for audience, token := range tokens {
			if other := again[audience]; string(other.Value) != string(token.Value) || !other.Expires.Equal(token.Expires) {
				t.Errorf("audience %q has another token then", audience)
			}
		}
		if shown := fmt.Sprintf("%v %+v %#v", tokens, tokens, tokens); strings.Contains(shown, "Value:\"") {
			t.Errorf("shown: %s", shown)
		}
	})
}

// A provider's reply, as the bytes that it sends.
func FuzzDecodeResponse(f *testing.F) {
	for _, reply := range []*v1alpha1.MountResponse{
		{},
		{Empty: true},
		{Error: &v1alpha1.Error{Code: "Oops"}},
		{ObjectVersion: []*v1alpha1.ObjectVersion{{Id: "a", Version: "1"}}, Files: []*v1alpha1.File{{Path: "a", Mode: 420, Contents: []byte("x")}}},
		{ObjectVersion: []*v1alpha1.ObjectVersion{{Id: "a"}, {Id: "a"}}, Files: []*v1alpha1.File{{Path: "a"}, {Path: "a/b"}, {Path: ".."}}},
	} {
		data, err := proto.Marshal(reply)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		wire := &v1alpha1.MountResponse{}
		if proto.Unmarshal(data, wire) != nil { // gRPC refuses it
			return
		}
		resp, err := decodeResponse(wire)
		if err != nil {
			if KindOf(err) != Invalid && wire.GetError().GetCode() == "" {
				t.Errorf("kind %v: %v", KindOf(err), err)
			}
			return
		}
		checkDecoded(t, resp)
	})
}

// checkDecoded: what a driver takes is whole, can be written down, and is the same
// after another trip over the wire.
func checkDecoded(t *testing.T, resp *Response) {
	t.Helper()
	if len(resp.Files) == 0 != resp.Empty || len(resp.Versions) == 0 && !resp.Empty || resp.Refresh < 0 {
		t.Errorf("%d files, %d versions, empty %t, refresh %v", len(resp.Files), len(resp.Versions), resp.Empty, resp.Refresh)
	}
	if _, err := resp.Expires.MarshalText(); err != nil {
		t.Errorf("expires %v: %v", resp.Expires, err)
	}
	if _, err := resp.Stale.MarshalText(); err != nil {
		t.Errorf("stale %v: %v", resp.Stale, err)
	}
	back, err := encodeResponse(resp, 0)
	if err != nil {
		t.Fatal(err)
	}
	again, err := decodeResponse(back)
	if diff := cmp.Diff(resp, again, cmpopts.EquateEmpty()); err != nil || diff != "" {
		t.Errorf("%v (-first +again):\n%s", err, diff)
	}
}

// Paths that pass stay within the volume, and can all be there at once.
func FuzzCheckFiles(f *testing.F) {
	f.Add("a/b", "a", "a.b")
	f.Add("..", "../x", "a")
	f.Add("a//b", ".", "")
	f.Add("a/b/c", "a/b-c", "a/b")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		paths := []string{a, b, c}
		if CheckFiles(files(paths...)) != nil {
			return
		}
		for i, p := range paths {
			if !fs.ValidPath(p) && strings.ToValidUTF8(p, "") == p || p == "." || strings.HasPrefix(p, "..") {
				t.Errorf("%q passed", p)
			}
			for j, other := range paths {
				if i != j && (p == other || strings.HasPrefix(p, other+"/")) {
					t.Errorf("%q and %q passed", p, other)
				}
			}
		}
	})
}
