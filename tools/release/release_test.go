package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const tinyMain = `package main

var linkedVersion, linkedCommit, linkedDate string

func main() { println(linkedVersion, "commit", linkedCommit, linkedDate) }
`

const tinyOverlay = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [pod.yaml]
`

const tinyPod = `apiVersion: v1
kind: Pod
metadata: {name: x}
spec:
  initContainers:
  - {name: first, image: "tiny/one:dev"}
  containers:
  - {name: x, image: tiny/one}
`

// tiny is a checkout that takes seconds to build.
func tiny(t *testing.T) *Release {
	t.Helper()
	root := t.TempDir()
	for path, text := range map[string]string{
		"go.mod": "module example.com/tiny\n\ngo 1.26\n", "LICENSE": "Apache License\n", "ca.pem": "certificates\n",
		"one/main.go": tinyMain, "everywhere/main.go": tinyMain,
		"manifests/overlays/x/kustomization.yaml": tinyOverlay, "manifests/overlays/x/pod.yaml": tinyPod,
		"manifests/overlays/test/kustomization.yaml": "broken",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return &Release{
		Suite: "tiny", Source: root, Out: filepath.Join(root, "bin", "release"), Version: "v1.2.3", Commit: "abcdef",
		Date: time.Date(2026, 1, 2, 3, 4, 6, 0, time.UTC), Registry: "registry.example/team", Stamp: "main", CAs: filepath.Join(root, "ca.pem"),
		Platforms: []Platform{{"linux", "amd64"}, {"linux", "arm64"}, {"windows", "amd64"}},
		Programs: []Program{
			{Name: "one", Package: "./one", Entrypoint: "/one"},
			{Name: "everywhere", Package: "./everywhere", Everywhere: true},
		},
	}
}

func mustMake(t *testing.T) *Release {
	t.Helper()
	r := tiny(t)
	if err := r.Make(t.Context()); err != nil {
		t.Fatal(err)
	}
	return r
}

func contents(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, f := range files {
		if out[f.Name()], err = os.ReadFile(filepath.Join(dir, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// Two checkouts in different places give the same bytes, and pass the check.
func TestSameBytes(t *testing.T) {
	t.Setenv("GOFLAGS", "")
	r := mustMake(t)
	first := contents(t, r.Out)
	t.Setenv("GOAMD64", "v3") // the release sets its own
	second := contents(t, mustMake(t).Out)
	if err := r.Check(t.Context()); err != nil {
		t.Error(err)
	}
	var want []string
	for _, p := range []string{"linux-amd64", "linux-arm64", "windows-amd64"} {
		want = append(want, "everywhere-v1.2.3-"+p+".cdx.json", "everywhere-v1.2.3-"+p+".tar.gz")
		if p == "windows-amd64" {
			want[len(want)-1] = "everywhere-v1.2.3-" + p + ".zip"
			continue
		}
		want = append(want, "tiny-v1.2.3-"+p+".tar.gz", "one-v1.2.3-"+p+".cdx.json", "image-one-v1.2.3-"+p+".tar")
	}
	for _, name := range append(want, "image-one-v1.2.3.oci.tar", "install-x-v1.2.3.yaml", sums) {
		if first[name] == nil {
			t.Errorf("%s is missing", name)
		}
		if !bytes.Equal(first[name], second[name]) {
			t.Errorf("%s is not the same when it is made again", name)
		}
		delete(first, name)
	}
	for name := range first {
		t.Errorf("%s is not expected", name)
	}
}

// damage changes a release that was good; its checksums are made again.
func damage(t *testing.T, r *Release, path string, edit func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := edit(data)
	if bytes.Equal(data, changed) {
		t.Fatalf("%s was not changed", path)
	}
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(r.path(sums)); err != nil {
		t.Fatal(err)
	}
	if err := r.writeSums(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func replace(old, by string) func([]byte) []byte {
	return func(data []byte) []byte { return bytes.ReplaceAll(data, []byte(old), []byte(by)) }
}

// The check finds what is not as it should be.
func TestCheckFinds(t *testing.T) {
	t.Setenv("GOFLAGS", "")
	r := mustMake(t)
	amd, arm := Platform{"linux", "amd64"}, Platform{"linux", "arm64"}
	good := contents(t, r.Out)
	for _, tc := range []struct {
		name, want string
		spoil      func(t *testing.T)
	}{
		{"a file without a sum", `has the sum`, func(t *testing.T) { write(t, r.path("more"), []byte("x")) }},
		{"a file that is gone", `that are not there: ["install-x-v1.2.3.yaml"]`, func(t *testing.T) {
			if err := os.Remove(r.path("install-x-v1.2.3.yaml")); err != nil {
				t.Fatal(err)
			}
		}},
		{"another image in the manifests", "tiny/one:dev, which is no image of this release", func(t *testing.T) {
			damage(t, r, r.path("install-x-v1.2.3.yaml"), replace("registry.example/team/one:v1.2.3", "tiny/one:dev"))
		}},
		{"the other architecture's image", "the image is for arm64", func(t *testing.T) {
			damage(t, r, r.imagePath("one", amd), func([]byte) []byte { return good[filepath.Base(r.imagePath("one", arm))] })
		}},
		{"a list of another binary", "is of another binary", func(t *testing.T) {
			damage(t, r, r.path("one-v1.2.3-linux-amd64.cdx.json"), replace(`"content": "`, `"content": "00`))
		}},
		{"a list without a module", "lists no stdlib", func(t *testing.T) {
			damage(t, r, r.path("one-v1.2.3-linux-amd64.cdx.json"), replace(`"name": "stdlib"`, `"name": "other"`))
		}},
		{"the other architecture's programs", "tiny-v1.2.3-linux-amd64.tar.gz: tiny-v1.2.3-linux-amd64/one", func(t *testing.T) {
			damage(t, r, r.path("tiny-v1.2.3-linux-amd64.tar.gz"), func([]byte) []byte { return good["tiny-v1.2.3-linux-arm64.tar.gz"] })
		}},
		{"images of one platform", `it holds images for ["amd64"]`, func(t *testing.T) { onePlatform(t, r) }},
	} {
		tc.spoil(t)
		if err := r.Check(t.Context()); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want one with %q", tc.name, err, tc.want)
		}
		restore(t, r.Out, good)
	}
	r.Version = "v1.2.4"
	if err := r.checkVersion(t.Context(), &r.distributions[0], archived(t, r)); runtime.GOARCH == "amd64" && (err == nil || !strings.Contains(err.Error(), "and not v1.2.4")) {
		t.Errorf("another version: %v", err)
	}
}

// onePlatform makes the archive of all platforms again, with one of them.
func onePlatform(t *testing.T, r *Release) {
	t.Helper()
	less := tiny(t)
	less.Platforms = less.Platforms[:1]
	if err := less.Make(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	damage(t, r, r.layoutPath("one"), func([]byte) []byte {
		data, err := os.ReadFile(less.layoutPath("one"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	})
}

func archived(t *testing.T, r *Release) []byte {
	t.Helper()
	files, err := readArchive(filepath.Join(r.Out, "tiny-v1.2.3-linux-amd64.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	return files["tiny-v1.2.3-linux-amd64/one"]
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func restore(t *testing.T, dir string, good map[string][]byte) {
	t.Helper()
	for name := range contents(t, dir) {
		if good[name] == nil {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, data := range good {
		write(t, filepath.Join(dir, name), data)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ args, want string }{
		{"--version v1.0.0", ""},
		{"", "set VERSION"},
		{"--version a/b", "cannot be a tag of an image"},
		{"--version v1 more", "not understood"},
		{"--version v1 --date yesterday", "date"},
		{"--version v1 --platforms plan9/386", "want one or more of linux/amd64"},
		{"--version v1 --platforms linux/amd", "want one or more of linux/amd64"},
		{"--version v1 --platforms linux/amd64,linux/amd64", "each once"},
	} {
		r, err := parse(strings.Fields(tc.args))
		if tc.want == "" && (err != nil || len(r.Platforms) != 6) || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%q: error %v, want one with %q", tc.args, err, tc.want)
		}
	}
}

// Nothing but a release is replaced by one.
func TestReplaceable(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		files []string
		want  bool
	}{
		"empty":     {nil, true},
		"a release": {[]string{sums, "a.tar"}, true},
		"other":     {[]string{"a.tar"}, false},
		"more":      {[]string{sums, "folder/a"}, false},
	} {
		dir := t.TempDir()
		for _, file := range tc.files {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, file), []byte("x"))
		}
		if err := replaceable(dir); (err == nil) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := replaceable(filepath.Join(t.TempDir(), "none")); err != nil {
		t.Error(err)
	}
	if err := run(t.Context(), []string{"--version", "v1", "--out", "."}); err == nil || !strings.Contains(err.Error(), "is no release") {
		t.Errorf("this directory: %v", err)
	}
}

// Helm puts a version between quotes where YAML needs it.
func TestCheckChart(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ about, image, want string }{
		{"version: 0.0.0-dev-1234567\nappVersion: \"1234567\"\n", "registry.example/team", ""},
		{"version: 0.0.0-dev-1234567\nappVersion: dev\n", "registry.example/team", "want 0.0.0-dev-1234567 and 1234567"},
		{"version: 1.0.0\nappVersion: \"1234567\"\n", "registry.example/team", "want 0.0.0-dev-1234567 and 1234567"},
		{"version: 0.0.0-dev-1234567\nappVersion: \"1234567\"\n", "tiny", "name no image of registry.example/team"},
	} {
		r := &Release{Suite: "tiny", Source: t.TempDir(), Out: t.TempDir(), Version: "1234567", Registry: "registry.example/team"}
		if err := os.MkdirAll(filepath.Join(r.Source, "charts", "tiny"), 0o700); err != nil {
			t.Fatal(err)
		}
		chart, err := tarball([]file{
			{"tiny/Chart.yaml", 0o644, []byte(tc.about)}, {"tiny/values.yaml", 0o644, []byte("repository: " + tc.image + "/one\n")},
		}, time.Unix(0, 0), true)
		if err != nil {
			t.Fatal(err)
		}
		write(t, r.chartPath(), chart)
		if err := r.checkChart(); (tc.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q: error %v, want one with %q", tc.about, err, tc.want)
		}
	}
}

func TestChartVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"v1.2.3": "1.2.3", "v1.2.3-rc.1": "1.2.3-rc.1", "v1.2.3-4-gabc-dirty": "1.2.3-4-gabc-dirty", "0123456": "0.0.0-dev-0123456",
	} {
		if got := (&Release{Version: version}).chartVersion(); got != want {
			t.Errorf("%s: %s, want %s", version, got, want)
		}
	}
}
