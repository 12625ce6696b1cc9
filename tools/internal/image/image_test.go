package image

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// buildBinary compiles a small program, static or with cgo.
func buildBinary(t *testing.T, cgo bool) string {
	t.Helper()
	dir := t.TempDir()
	src := "package main\n\nfunc main() { println(\"hello\") }\n"
	env := append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if cgo {
		src = "package main\n\nimport \"C\"\n\nfunc main() { println(\"hello\") }\n"
		env = append(env, "CGO_ENABLED=1")
	}
	file, bin := filepath.Join(dir, "main.go"), filepath.Join(dir, "hello")
	if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", bin, file)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		if cgo {
			t.Skipf("no C compiler: %s", out)
		}
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

func testConfig(t *testing.T, binary string) Config {
	t.Helper()
	dir := t.TempDir()
	cas := filepath.Join(dir, "ca.crt")
	if err := os.WriteFile(cas, []byte("certificates\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Config{
		Binary: binary, Entrypoint: "/opt/hello", Tag: "strongroom/hello:dev", User: "0",
		Arch: "amd64", CAs: cas, Out: filepath.Join(dir, "images", "hello.tar"),
	}
}

func files(t *testing.T, img v1.Image) map[string]*tar.Header {
	t.Helper()
	got := map[string]*tar.Header{}
	r := tar.NewReader(mutate.Extract(img))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		got[h.Name] = h
	}
}

func TestImage(t *testing.T) {
	cfg := testConfig(t, buildBinary(t, false))
	if err := Write(cfg); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(cfg.Tag)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(cfg.Out, &tag)
	if err != nil {
		t.Fatal(err)
	}
	checkConfig(t, cfg, img)
	checkFiles(t, files(t, img))
}

func checkConfig(t *testing.T, cfg Config, img v1.Image) {
	t.Helper()
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if got := file.Config.Entrypoint; len(got) != 1 || got[0] != cfg.Entrypoint {
		t.Errorf("entrypoint = %q", got)
	}
	if file.Config.User != "0" || file.Architecture != "amd64" || file.OS != "linux" {
		t.Errorf("user %q, platform %s/%s", file.Config.User, file.OS, file.Architecture)
	}
	if got := file.Config.Labels["org.opencontainers.image.title"]; got != "hello" {
		t.Errorf("title = %q", got)
	}
	if len(file.RootFS.DiffIDs) != 2 || len(file.History) != 2 {
		t.Errorf("%d layers, %d history entries", len(file.RootFS.DiffIDs), len(file.History))
	}
}

func checkFiles(t *testing.T, got map[string]*tar.Header) {
	t.Helper()
	for path, mode := range map[string]int64{
		"opt": 0o755, "opt/hello": 0o755, "tmp": 0o1777, "etc/passwd": 0o644, "etc/group": 0o644,
		"etc/ssl/certs/ca-certificates.crt": 0o644, "home/nonroot": 0o700,
	} {
		h := got[path]
		switch {
		case h == nil:
			t.Errorf("%s is missing", path)
		case h.Mode != mode:
			t.Errorf("%s has mode %o, want %o", path, h.Mode, mode)
		case !h.ModTime.Equal(epoch()):
			t.Errorf("%s is dated %s", path, h.ModTime)
		}
	}
}

func TestReproducible(t *testing.T) {
	bin := buildBinary(t, false)
	var tars [2][]byte
	for i := range tars {
		cfg := testConfig(t, bin)
		if err := Write(cfg); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(cfg.Out)
		if err != nil {
			t.Fatal(err)
		}
		tars[i] = data
	}
	if !bytes.Equal(tars[0], tars[1]) {
		t.Error("two runs over one binary differ")
	}
}

func TestRefused(t *testing.T) {
	static := buildBinary(t, false)
	for _, tc := range []struct {
		name string
		edit func(t *testing.T, c *Config)
		want string
	}{
		{"no certificates", func(_ *testing.T, c *Config) { c.CAs += ".gone" }, "install the package ca-certificates"},
		{"relative entrypoint", func(_ *testing.T, c *Config) { c.Entrypoint = "hello" }, "not an absolute path"},
		{"not a program", func(_ *testing.T, c *Config) { c.Binary = c.CAs }, "not a Linux executable"},
		{"dynamic", func(t *testing.T, c *Config) { c.Binary = buildBinary(t, true) }, "not static"},
		{"bad tag", func(_ *testing.T, c *Config) { c.Tag = "UPPER CASE" }, "can only contain the characters"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := testConfig(t, static)
			tc.edit(t, &cfg)
			err := Write(cfg)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
			if _, err := os.Stat(cfg.Out); err == nil {
				t.Error("an image was written")
			}
		})
	}
}
